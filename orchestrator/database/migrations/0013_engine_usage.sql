-- For how long Tritons worked for whom: added up by orchestrators every few seconds, also for work without a picture.
CREATE TABLE imagegen.engine_usage (
    account_id bigint NOT NULL REFERENCES imagegen.accounts,
    hour timestamptz NOT NULL,                                       -- its beginning
    family text NOT NULL,
    engines text NOT NULL,                                           -- group of Tritons
    seconds double precision NOT NULL,
    PRIMARY KEY (account_id, hour, family, engines)
);
CREATE INDEX engine_usage_hour ON imagegen.engine_usage (hour);
CREATE INDEX usage_at ON imagegen.usage (at);
