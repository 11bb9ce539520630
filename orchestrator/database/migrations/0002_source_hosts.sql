-- Hosts that an account's pictures may be fetched from: names, *.suffixes, addresses; NULL: any.
ALTER TABLE imagegen.accounts ADD COLUMN source_hosts text[];
