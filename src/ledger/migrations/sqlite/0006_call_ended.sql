-- Events about a call that belong to no payment. SQLite cannot drop a NOT NULL, so the outbox is made anew with what is in it.
CREATE TABLE outbox_anew (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id TEXT REFERENCES payments (id),
    -- The call of an event without a payment. Such an event is deleted once it is delivered.
    call_sid TEXT,
    -- The caller of that call, until personal data is erased.
    caller TEXT,
    outcome TEXT NOT NULL CHECK (json_valid(outcome)),
    written_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    delivered_at INTEGER,
    CHECK ((payment_id IS NULL) <> (call_sid IS NULL))
) STRICT;

INSERT INTO outbox_anew (id, payment_id, outcome, written_at, attempts, due_at, delivered_at)
SELECT id, payment_id, outcome, written_at, attempts, due_at, delivered_at FROM outbox ORDER BY id;

DROP TABLE outbox;
ALTER TABLE outbox_anew RENAME TO outbox;

CREATE INDEX outbox_of_a_payment ON outbox (payment_id);
CREATE INDEX outbox_by_time ON outbox (due_at) WHERE delivered_at IS NULL;
CREATE INDEX outbox_to_send ON outbox (attempts > 0, due_at) WHERE delivered_at IS NULL;
CREATE INDEX outbox_of_calls ON outbox (written_at) WHERE call_sid IS NOT NULL;
