-- Accounts, jobs, results and webhooks. Times are those of the database's clock.
CREATE SCHEMA IF NOT EXISTS imagegen;

-- Who uses the service. `anonymous` is everybody where keys are not asked for.
CREATE TABLE imagegen.accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9._@-]{1,64}$'),
    email text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled boolean NOT NULL DEFAULT false,
    max_active integer CHECK (max_active > 0),                       -- jobs at a time; NULL: no limit
    requests_per_minute integer CHECK (requests_per_minute > 0),     -- NULL: no limit
    credits numeric(16, 3) CHECK (credits >= 0),                     -- NULL: not counted
    webhook_secret bytea NOT NULL DEFAULT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'),
    rate_tat timestamptz NOT NULL DEFAULT '-infinity',               -- theoretical arrival time of the next request (GCRA, ITU-T I.371)
    fair_tag double precision NOT NULL DEFAULT 0                     -- finish tag of its last job (start-time fair queueing), Unix seconds
);
INSERT INTO imagegen.accounts (name) VALUES ('anonymous');

-- Keys are stored by their SHA-256 only.
CREATE TABLE imagegen.api_keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES imagegen.accounts ON DELETE CASCADE,
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    prefix text NOT NULL,                                            -- its first characters, to know it again
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE INDEX api_keys_account ON imagegen.api_keys (account_id);

-- Storages of accounts, for storage://name/path. config holds what its kind needs, secrets included.
CREATE TABLE imagegen.storages (
    account_id bigint NOT NULL REFERENCES imagegen.accounts ON DELETE CASCADE,
    name text NOT NULL CHECK (name ~ '^[A-Za-z0-9._-]{1,64}$'),
    kind text NOT NULL,
    config jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name)
);

-- Pictures of the result store, noted before they are written: what a crash leaves there is found and removed by its time.
CREATE TABLE imagegen.results (
    name text PRIMARY KEY,                                           -- last part of its URI, 128 random bits
    account_id bigint NOT NULL REFERENCES imagegen.accounts,
    job_id text,                                                     -- NULL: of a Generate stream
    media_type text NOT NULL,
    size bigint,                                                     -- bytes; NULL: not known to be written
    sha256 bytea,                                                    -- of the file; NULL as size
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX results_expiry ON imagegen.results (expires_at);

CREATE TABLE imagegen.jobs (
    id text PRIMARY KEY CHECK (length(id) = 22),
    account_id bigint NOT NULL REFERENCES imagegen.accounts,
    request_id text NOT NULL,                                        -- its name in logs
    idempotency_key text,                                            -- the request_id that the client itself chose
    request_digest bytea NOT NULL,                                   -- SHA-256 of what was asked for
    request bytea,                                                   -- serialized GenerateRequest, its seed set; NULL once the job has ended
    task text NOT NULL,
    family text NOT NULL,
    seed bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'deleted')),
    priority text NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
    rank integer NOT NULL,                                           -- procrastinate's priority: the highest starts first
    tag double precision NOT NULL,                                   -- start tag (start-time fair queueing), Unix seconds
    cost double precision NOT NULL,                                  -- work, in the unit of Plan.cost
    price numeric(16, 3) NOT NULL,                                   -- credits that are taken for it
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,                                          -- of the last attempt
    ended_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,                             -- that count: deaths under it, not outages around it
    fence integer NOT NULL DEFAULT 0,                                -- of the attempt that may end it
    artifact jsonb,
    sequence integer NOT NULL DEFAULT 0,                             -- number of its last event, the end
    picture text,                                                    -- its results.name
    expires_at timestamptz,                                          -- of its picture
    error jsonb,
    webhook_url text,
    webhook_data text,                                               -- JSON; NULL once the delivery is made
    UNIQUE (account_id, idempotency_key)
);
CREATE INDEX jobs_by_account ON imagegen.jobs (account_id, created_at DESC, id DESC);
CREATE INDEX jobs_active ON imagegen.jobs (account_id) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_queued ON imagegen.jobs (rank DESC, created_at) WHERE state = 'queued';
CREATE INDEX jobs_running ON imagegen.jobs (tag) WHERE state = 'running';
CREATE INDEX jobs_expiry ON imagegen.jobs (expires_at) WHERE state = 'succeeded';
CREATE INDEX jobs_ended ON imagegen.jobs (ended_at) WHERE ended_at IS NOT NULL;

-- The newest event of each kind of the jobs that run. Unlogged: what a crash of the database loses are steps, not ends.
CREATE UNLOGGED TABLE imagegen.events (
    job_id text NOT NULL REFERENCES imagegen.jobs ON DELETE CASCADE,
    kind text NOT NULL,
    sequence integer NOT NULL,
    payload jsonb NOT NULL,
    data bytea,                                                      -- a preview's JPEG
    PRIMARY KEY (job_id, kind)
);

-- Generate streams of limited accounts while they run: what they reserve, until when unless they say that they live.
CREATE TABLE imagegen.leases (
    id text PRIMARY KEY,                                             -- job id of the stream
    account_id bigint NOT NULL REFERENCES imagegen.accounts,
    price numeric(16, 3) NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX leases_account ON imagegen.leases (account_id);
CREATE INDEX leases_expiry ON imagegen.leases (expires_at);

-- One row for each picture that was made. Kept when jobs are forgotten.
CREATE TABLE imagegen.usage (
    job_id text PRIMARY KEY,                                         -- twice is impossible
    account_id bigint NOT NULL REFERENCES imagegen.accounts,
    task text NOT NULL,
    family text NOT NULL,
    price numeric(16, 3) NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX usage_account ON imagegen.usage (account_id, at);

-- Webhooks to be sent: written by the transaction that ends the job.
CREATE TABLE imagegen.deliveries (
    id text PRIMARY KEY,                                             -- the webhook-id header
    job_id text NOT NULL UNIQUE REFERENCES imagegen.jobs ON DELETE CASCADE,
    account_id bigint NOT NULL REFERENCES imagegen.accounts,
    url text NOT NULL,
    data text,                                                       -- JSON, as the client gave it
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    last_status integer,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz
);
CREATE INDEX deliveries_due ON imagegen.deliveries (next_at) WHERE state = 'pending';
