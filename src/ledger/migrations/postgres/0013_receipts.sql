-- The receipt of a payment: a text message that is sent once. It has neither a number nor a text.
CREATE TABLE receipts (
    payment_id TEXT PRIMARY KEY REFERENCES payments (id),
    -- `awaited` until the payment succeeds. Whoever sends it sets `sending` first, until `due_at`; after that nobody knows whether it
    -- was sent, and it is `unknown`.
    state TEXT NOT NULL CHECK (state IN ('awaited', 'due', 'sending', 'sent', 'impossible', 'unknown', 'dropped')),
    -- The language of the call when the payment was submitted, as a BCP 47 code.
    language TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT NOT NULL
);

CREATE INDEX receipts_by_state ON receipts (state, due_at);
