-- What the gateway keeps with a job for its client: warnings, and names of fields (ClientNotes, serialized).
ALTER TABLE imagegen.jobs ADD COLUMN client_notes bytea;
