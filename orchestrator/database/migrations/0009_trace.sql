-- The trace of the call that asked for a job (W3C traceparent), which its attempts link to; NULL where none is recorded.
ALTER TABLE imagegen.jobs ADD COLUMN trace text CHECK (length(trace) <= 55);
