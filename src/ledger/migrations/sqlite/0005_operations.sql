-- Refunds and disputes, as the operator records them. The same reference is the same refund.
CREATE TABLE refunds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id TEXT NOT NULL REFERENCES payments (id),
    kind TEXT NOT NULL CHECK (kind IN ('refund', 'dispute')),
    reference TEXT NOT NULL CHECK (length(reference) BETWEEN 1 AND 64),
    -- In minor units of the payment's currency.
    minor INTEGER NOT NULL CHECK (minor > 0),
    -- When it happened at the processor, and when it was recorded: milliseconds since 1970, in UTC.
    at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    UNIQUE (payment_id, reference)
) STRICT;

CREATE TRIGGER refunds_do_not_change BEFORE UPDATE ON refunds
BEGIN
    SELECT RAISE(ABORT, 'a refund is never changed');
END;

CREATE TRIGGER refunds_stay BEFORE DELETE ON refunds
BEGIN
    SELECT RAISE(ABORT, 'a refund is never deleted');
END;

-- What was never sent goes first: after an outage there may be much that waits.
CREATE INDEX outbox_to_send ON outbox (attempts > 0, due_at) WHERE delivered_at IS NULL;

-- Payments whose personal data is not erased.
CREATE INDEX payments_with_personal_data ON payments (opened_at)
WHERE caller IS NOT NULL OR call_reference IS NOT NULL OR order_reference IS NOT NULL OR description IS NOT NULL;
