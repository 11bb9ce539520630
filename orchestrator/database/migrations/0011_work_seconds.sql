-- Seconds of an engine that a job is expected to need, as generation/forecast.py has them. Jobs of the version before
-- have none.
ALTER TABLE imagegen.jobs ADD COLUMN work_seconds double precision;
