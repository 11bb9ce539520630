-- Measured seconds of network calls, so that a server that starts knows them at once.
CREATE TABLE imagegen.network_costs (
    engine text NOT NULL,                       -- address of the Triton
    model text NOT NULL,
    shape integer[] NOT NULL,                   -- of the first input, behind the batch
    rows integer NOT NULL CHECK (rows > 0),
    seconds double precision NOT NULL CHECK (seconds > 0),
    measured_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (engine, model, shape, rows)
);
