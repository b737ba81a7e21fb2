-- The calls whose end Twilio has reported, for a day: none of them begins again, even after a restart.
CREATE TABLE ended_calls (
    call_sid TEXT PRIMARY KEY,
    ended_at INTEGER NOT NULL
) STRICT;

CREATE INDEX ended_calls_by_time ON ended_calls (ended_at);
