-- Who has which call. A server that is restarted takes up the calls of the last one. The tables are those of PostgreSQL, where
-- several servers share them. Times are milliseconds since 1970, in UTC.

-- The servers that run: with SQLite the one that has the file.
CREATE TABLE servers (
    -- Drawn when the process starts.
    id TEXT PRIMARY KEY,
    -- Where other servers reach it. Empty with SQLite.
    address TEXT NOT NULL,
    -- It stops, and takes no new calls.
    draining BIGINT NOT NULL DEFAULT 0 CHECK (draining IN (0, 1)),
    beat BIGINT NOT NULL
);

-- The calls that ring or are live. A call that is over has no row.
CREATE TABLE calls (
    call_sid TEXT PRIMARY KEY,
    -- The server that has the call. None while it rings.
    owner TEXT,
    -- Counts its owners. What precedes a request to Twilio is written by the owner of the current epoch only.
    epoch BIGINT NOT NULL,
    -- What is known of the call before it is connected. Sealed.
    about TEXT,
    changed_at BIGINT NOT NULL
);

CREATE INDEX calls_of_a_server ON calls (owner);
CREATE INDEX calls_that_ring ON calls (changed_at) WHERE owner IS NULL;

-- The orders for outbound calls that have not ended. Empty with SQLite.
CREATE TABLE orders (
    -- `callReference`.
    reference TEXT PRIMARY KEY,
    -- The call, once it is known.
    call_sid TEXT,
    -- The properties of the order. Sealed.
    data TEXT NOT NULL,
    -- The TwiML of the call, which Twilio reads once. Sealed.
    document_id TEXT UNIQUE,
    document TEXT,
    made_at BIGINT NOT NULL
);

CREATE INDEX orders_of_a_call ON orders (call_sid);
CREATE INDEX orders_by_time ON orders (made_at);

-- Callbacks that could not be sent on to the server that has their call. Empty with SQLite.
CREATE TABLE missed_callbacks (
    id INTEGER PRIMARY KEY,
    call_sid TEXT NOT NULL,
    -- Without anything of a card. Sealed.
    callback TEXT NOT NULL,
    left_at BIGINT NOT NULL
);

CREATE INDEX missed_callbacks_of_a_call ON missed_callbacks (call_sid);
