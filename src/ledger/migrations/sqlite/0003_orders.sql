-- New states and columns. SQLite cannot change a CHECK, so the three tables are made anew with what is in them.
CREATE TABLE payments_anew (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('opened', 'capturing', 'submitted', 'pending', 'charged', 'tokenized', 'declined',
                                         'failed', 'cancelled', 'abandoned', 'unknown', 'returned', 'refunded', 'disputed')),
    call_sid TEXT NOT NULL,
    -- Twilio's SID of the session, once it is known.
    payment_sid TEXT UNIQUE,
    -- The caller's number, where it is one that can be called.
    caller TEXT,
    call_reference TEXT,
    -- `orderReference`, where the business gives one beside `callReference`.
    order_reference TEXT,
    -- SHA-256 of the reference of the order, in hex. It stays when the reference is erased, so that an order is paid once for ever.
    order_key TEXT,
    description TEXT,
    -- What is charged, in minor units of the currency, which has so many decimals; without it the card is tokenized.
    minor INTEGER CHECK (minor > 0),
    currency TEXT,
    exponent INTEGER,
    -- How much of it is refunded, in minor units.
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    method TEXT NOT NULL,
    last4 TEXT CHECK (length(last4) BETWEEN 2 AND 4),
    confirmation TEXT,
    -- Erased once it is delivered.
    token TEXT,
    profile TEXT,
    -- Twilio's result, the error code that explains it, and what Twilio and the processor said.
    result TEXT,
    result_code INTEGER,
    result_text TEXT,
    -- Real money, or a connector in test mode.
    live INTEGER NOT NULL DEFAULT 1 CHECK (live IN (0, 1)),
    opened_at INTEGER NOT NULL,
    -- When it was last submitted; none if Twilio certainly refused that.
    submitted_at INTEGER,
    ended_at INTEGER,
    CHECK ((minor IS NULL) = (currency IS NULL) AND (minor IS NULL) = (exponent IS NULL))
) STRICT;

INSERT INTO payments_anew (seq, id, state, call_sid, payment_sid, caller, call_reference, description, minor, currency, exponent,
                           method, last4, confirmation, token, profile, result, result_code, opened_at, submitted_at, ended_at)
SELECT seq, id, state, call_sid, payment_sid, caller, call_reference, description, minor, currency, exponent,
       method, last4, confirmation, token, profile, result, result_code, opened_at, submitted_at, ended_at
FROM payments ORDER BY seq;

CREATE TABLE events_anew (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id TEXT NOT NULL REFERENCES payments_anew (id),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)),
    -- What is the same on each delivery of the same callback.
    delivery TEXT
) STRICT;

INSERT INTO events_anew (id, payment_id, at, kind, data, delivery)
SELECT id, payment_id, at, CASE kind WHEN 'declined' THEN 'card-failed' ELSE kind END, data, delivery FROM events ORDER BY id;

CREATE TABLE outbox_anew (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id TEXT NOT NULL REFERENCES payments_anew (id),
    outcome TEXT NOT NULL CHECK (json_valid(outcome)),
    written_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    delivered_at INTEGER
) STRICT;

INSERT INTO outbox_anew (id, payment_id, outcome, written_at, attempts, due_at, delivered_at)
SELECT id, payment_id, outcome, written_at, attempts, due_at, delivered_at FROM outbox ORDER BY id;

DROP TABLE outbox;
DROP TRIGGER events_stay;
DROP TABLE events;
DROP TRIGGER payments_stay;
DROP TABLE payments;
ALTER TABLE payments_anew RENAME TO payments;
ALTER TABLE events_anew RENAME TO events;
ALTER TABLE outbox_anew RENAME TO outbox;

CREATE INDEX payments_of_a_call ON payments (call_sid);
CREATE INDEX payments_by_state ON payments (state);
CREATE INDEX payments_by_time ON payments (opened_at);
CREATE INDEX payments_with_a_token ON payments (ended_at) WHERE token IS NOT NULL;
CREATE INDEX payments_of_a_caller ON payments (caller, opened_at) WHERE caller IS NOT NULL;
CREATE INDEX payments_of_an_order ON payments (order_key) WHERE order_key IS NOT NULL;

CREATE TRIGGER payments_stay BEFORE DELETE ON payments
BEGIN
    SELECT RAISE(ABORT, 'a payment is never deleted');
END;

CREATE INDEX events_of_a_payment ON events (payment_id);
CREATE UNIQUE INDEX events_come_once ON events (payment_id, delivery) WHERE delivery IS NOT NULL;
CREATE INDEX events_by_kind ON events (kind, at);

CREATE TRIGGER events_do_not_change BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'an event is never changed');
END;

CREATE TRIGGER events_stay BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'an event is never deleted');
END;

CREATE INDEX outbox_of_a_payment ON outbox (payment_id);
CREATE INDEX outbox_by_time ON outbox (due_at) WHERE delivered_at IS NULL;

-- What happened on a call and belongs to no payment: what the server asked, and how the caller answered.
CREATE TABLE call_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    call_sid TEXT NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data))
) STRICT;

CREATE INDEX events_of_a_call ON call_events (call_sid);

CREATE TRIGGER call_events_do_not_change BEFORE UPDATE ON call_events
BEGIN
    SELECT RAISE(ABORT, 'an event is never changed');
END;

CREATE TRIGGER call_events_stay BEFORE DELETE ON call_events
BEGIN
    SELECT RAISE(ABORT, 'an event is never deleted');
END;
