-- Bytes of stored pictures by account, kept by triggers: so they are right whichever version writes. A statement is
-- counted once, in the order of the accounts, so that two of them never wait for each other.
ALTER TABLE imagegen.accounts
    ADD COLUMN max_stored_bytes bigint CHECK (max_stored_bytes > 0);  -- of its pictures; NULL: as the server's setting says

CREATE TABLE imagegen.stored_bytes (
    account_id bigint PRIMARY KEY REFERENCES imagegen.accounts ON DELETE CASCADE,
    bytes bigint NOT NULL                                            -- of its pictures whose object may be there
);

CREATE FUNCTION imagegen.count_stored_bytes() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO imagegen.stored_bytes AS s (account_id, bytes)
        SELECT account_id, -sum(size) FROM old_rows
        WHERE size IS NOT NULL AND media_type LIKE 'image/%' GROUP BY account_id ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE SET bytes = s.bytes + excluded.bytes;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO imagegen.stored_bytes AS s (account_id, bytes)
        SELECT account_id, sum(size) FROM new_rows
        WHERE size IS NOT NULL AND media_type LIKE 'image/%' GROUP BY account_id ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE SET bytes = s.bytes + excluded.bytes;
    ELSE
        INSERT INTO imagegen.stored_bytes AS s (account_id, bytes)
        SELECT account_id, sum(bytes) FROM (
            SELECT account_id, size AS bytes FROM new_rows WHERE size IS NOT NULL AND media_type LIKE 'image/%'
            UNION ALL
            SELECT account_id, -size FROM old_rows WHERE size IS NOT NULL AND media_type LIKE 'image/%'
        ) changed GROUP BY account_id HAVING sum(bytes) <> 0 ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE SET bytes = s.bytes + excluded.bytes;
    END IF;
    RETURN NULL;
END
$body$;

LOCK TABLE imagegen.results IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO imagegen.stored_bytes (account_id, bytes)
SELECT account_id, sum(size) FROM imagegen.results
WHERE size IS NOT NULL AND media_type LIKE 'image/%' GROUP BY account_id;
CREATE TRIGGER stored_bytes_inserted AFTER INSERT ON imagegen.results
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION imagegen.count_stored_bytes();
CREATE TRIGGER stored_bytes_updated AFTER UPDATE ON imagegen.results
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION imagegen.count_stored_bytes();
CREATE TRIGGER stored_bytes_deleted AFTER DELETE ON imagegen.results
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION imagegen.count_stored_bytes();
