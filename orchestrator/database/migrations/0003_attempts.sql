-- Each attempt at a job has one owner: the process that holds its lease, by the job's fence (ADR 0021). The job's row is
-- the queue: procrastinate's is not needed any more. Columns are only added, so that the version before runs on.
ALTER TABLE imagegen.jobs
    ADD COLUMN worker_id text,                                       -- the process that runs it
    ADD COLUMN lease_until timestamptz,                              -- of that process, unless it renews it; NULL while queued
    ADD COLUMN alone boolean NOT NULL DEFAULT false,                 -- nothing else ran in that process at the last renewal
    ADD COLUMN quarantined boolean NOT NULL DEFAULT false,           -- a process crashed while it ran: it runs alone from now on
    ADD COLUMN crashes integer NOT NULL DEFAULT 0,                   -- of processes while it ran alone
    ADD COLUMN crashed_worker text,                                  -- the process of the last crash that was counted
    ADD COLUMN overruns integer NOT NULL DEFAULT 0,                  -- attempts that were stopped because they ran too long
    ADD COLUMN not_before timestamptz,                               -- a retry waits until then
    ADD COLUMN first_event integer NOT NULL DEFAULT 0,               -- the events of this attempt have numbers above it
    ADD COLUMN held_bytes bigint NOT NULL DEFAULT 0,                 -- of the pictures that came with the request
    ADD COLUMN request_object text;                                  -- results.name of a request that is too large for `request`

CREATE INDEX jobs_quarantined ON imagegen.jobs (id) WHERE state = 'queued' AND quarantined;
CREATE INDEX jobs_held ON imagegen.jobs (account_id) INCLUDE (held_bytes)
    WHERE state IN ('queued', 'running') AND held_bytes > 0;

-- A function of ours, so that tests can have a database that was started at another time.
CREATE FUNCTION imagegen.database_started() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT pg_postmaster_start_time()';

-- While servers are replaced one after another, those of the version before still fetch from procrastinate's tables, and
-- put jobs there that are missing. Both versions work on one queue: whoever takes a job first has it. All of this, and
-- procrastinate's tables, go with the next version.
DO $$
BEGIN
    IF to_regclass('procrastinate_jobs') IS NULL THEN
        CREATE FUNCTION imagegen.runs_in_previous_version(text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
        RETURN;
    END IF;

    -- Whether a living process of the version before has fetched the job.
    CREATE FUNCTION imagegen.runs_in_previous_version(job text) RETURNS boolean LANGUAGE sql STABLE AS $body$
        SELECT EXISTS (
            SELECT FROM procrastinate_jobs q JOIN procrastinate_workers w ON w.id = q.worker_id
            WHERE q.queueing_lock = job AND q.status = 'doing' AND w.last_heartbeat > now() - interval '20 s'
        )
    $body$;

    -- A claim takes the job out of the old queue, and fails where the version before was faster.
    CREATE FUNCTION imagegen.claim_from_previous_version() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        DELETE FROM procrastinate_jobs WHERE queueing_lock = OLD.id AND status = 'todo';
        IF imagegen.runs_in_previous_version(OLD.id) THEN
            RETURN NULL;
        END IF;
        RETURN NEW;
    END
    $body$;
    CREATE TRIGGER claim_from_previous_version BEFORE UPDATE OF lease_until ON imagegen.jobs
        FOR EACH ROW WHEN (OLD.state = 'queued' AND NEW.state = 'running')
        EXECUTE FUNCTION imagegen.claim_from_previous_version();

    -- The version before puts jobs back that its queue does not have: not those that it must not begin.
    CREATE FUNCTION imagegen.keep_from_previous_version() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        IF EXISTS (
            SELECT FROM imagegen.jobs
            WHERE id = NEW.queueing_lock AND (lease_until IS NOT NULL OR request_object IS NOT NULL OR quarantined)
        ) THEN
            NEW.scheduled_at = now() + interval '1 hour';
        END IF;
        RETURN NEW;
    END
    $body$;
    CREATE TRIGGER keep_from_previous_version BEFORE INSERT ON procrastinate_jobs
        FOR EACH ROW EXECUTE FUNCTION imagegen.keep_from_previous_version();
END
$$;
