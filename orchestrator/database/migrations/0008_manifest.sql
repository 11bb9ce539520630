-- What a job was asked for, without the pictures that came with it: kept when `request` is dropped. A column is only added.
ALTER TABLE imagegen.jobs ADD COLUMN manifest bytea;                 -- serialized GenerateRequest; NULL: of before, or too long
