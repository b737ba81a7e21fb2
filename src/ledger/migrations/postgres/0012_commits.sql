-- The writes that were committed in the last day. The number of a transaction alone does not say whether it was: after a crash or a
-- fail-over PostgreSQL gives the number of one that was lost to another one.
CREATE TABLE commits (
    -- Drawn for the write.
    id TEXT PRIMARY KEY,
    -- Milliseconds since 1970, in UTC, by the clock of the database.
    at BIGINT NOT NULL DEFAULT (EXTRACT(EPOCH FROM now()) * 1000)::bigint
);

CREATE INDEX commits_by_time ON commits (at);
