-- What queries ask of the data of an event, as columns: each engine reads JSON in its own way.
ALTER TABLE events ADD COLUMN idempotency_key TEXT GENERATED ALWAYS AS (json_extract(data, '$.key')) VIRTUAL;
ALTER TABLE events ADD COLUMN change TEXT GENERATED ALWAYS AS (json_extract(data, '$.change')) VIRTUAL;
ALTER TABLE events ADD COLUMN last4 TEXT GENERATED ALWAYS AS (json_extract(data, '$.last4')) VIRTUAL;
ALTER TABLE events ADD COLUMN result TEXT GENERATED ALWAYS AS (json_extract(data, '$.result')) VIRTUAL;
ALTER TABLE events ADD COLUMN outcome TEXT GENERATED ALWAYS AS (json_extract(data, '$.outcome')) VIRTUAL;
ALTER TABLE events ADD COLUMN attestation TEXT GENERATED ALWAYS AS (json_extract(data, '$.attestation')) VIRTUAL;
ALTER TABLE events ADD COLUMN at_once INTEGER GENERATED ALWAYS AS (coalesce(json_extract(data, '$.atOnce'), 0)) VIRTUAL;
ALTER TABLE events ADD COLUMN doubtful INTEGER GENERATED ALWAYS AS (coalesce(json_extract(data, '$.doubtful'), 0)) VIRTUAL;
