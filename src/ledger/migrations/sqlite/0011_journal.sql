-- What another server needs to take a live call up. It goes with the row of the call.

-- What is known of the call besides the conversation, as JSON. Sealed.
ALTER TABLE calls ADD COLUMN state TEXT;

-- The conversation of a live call: the items of its history, by their positions. An item may change.
CREATE TABLE journal (
    call_sid TEXT NOT NULL,
    position BIGINT NOT NULL,
    -- As JSON. Sealed.
    item TEXT NOT NULL,
    PRIMARY KEY (call_sid, position)
);
