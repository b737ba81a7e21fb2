-- The numbers that are not called any more: whoever has them has asked for it.
CREATE TABLE do_not_call (
    -- In E.164 form.
    number TEXT PRIMARY KEY,
    -- Milliseconds since 1970, in UTC.
    at INTEGER NOT NULL,
    -- The call on which they asked.
    call_sid TEXT NOT NULL
) STRICT;
