-- A payment, from the wish to open a session on. Times are milliseconds since 1970, in UTC.
-- No column can hold a card number, an expiry date, a security code or a postal code.
CREATE TABLE payments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('opened', 'capturing', 'submitted', 'charged', 'tokenized', 'declined',
                                         'cancelled', 'abandoned', 'unknown')),
    call_sid TEXT NOT NULL,
    -- Twilio's SID of the session, once it is known.
    payment_sid TEXT UNIQUE,
    -- The caller's number, where it is one that can be called.
    caller TEXT,
    call_reference TEXT,
    description TEXT,
    -- What is charged, in minor units of the currency, which has so many decimals; without it the card is tokenized.
    minor INTEGER CHECK (minor > 0),
    currency TEXT,
    exponent INTEGER,
    method TEXT NOT NULL,
    last4 TEXT CHECK (length(last4) BETWEEN 2 AND 4),
    confirmation TEXT,
    -- Erased once it is delivered.
    token TEXT,
    profile TEXT,
    -- Twilio's result, and the error code that explains it.
    result TEXT,
    result_code INTEGER,
    opened_at INTEGER NOT NULL,
    submitted_at INTEGER,
    ended_at INTEGER,
    CHECK ((minor IS NULL) = (currency IS NULL) AND (minor IS NULL) = (exponent IS NULL))
) STRICT;

CREATE INDEX payments_of_a_call ON payments (call_sid);
CREATE INDEX payments_by_state ON payments (state);
CREATE INDEX payments_by_time ON payments (opened_at);
CREATE INDEX payments_with_a_token ON payments (ended_at) WHERE token IS NOT NULL;

CREATE TRIGGER payments_stay BEFORE DELETE ON payments
BEGIN
    SELECT RAISE(ABORT, 'a payment is never deleted');
END;

-- What happened to a payment, in order. None of it is card data or a token.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id TEXT NOT NULL REFERENCES payments (id),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)),
    -- What is the same on each delivery of the same callback.
    delivery TEXT
) STRICT;

CREATE INDEX events_of_a_payment ON events (payment_id);
CREATE UNIQUE INDEX events_come_once ON events (payment_id, delivery) WHERE delivery IS NOT NULL;

CREATE TRIGGER events_do_not_change BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'an event is never changed');
END;

CREATE TRIGGER events_stay BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'an event is never deleted');
END;

-- Final outcomes on their way to the business, as they were when they came; without the token, which is put in at the last
-- moment.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id TEXT NOT NULL REFERENCES payments (id),
    outcome TEXT NOT NULL CHECK (json_valid(outcome)),
    written_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    delivered_at INTEGER
) STRICT;

CREATE INDEX outbox_of_a_payment ON outbox (payment_id);
CREATE INDEX outbox_by_time ON outbox (due_at) WHERE delivered_at IS NULL;
