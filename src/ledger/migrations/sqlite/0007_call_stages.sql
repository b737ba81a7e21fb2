-- How far calls have come, for a day: an old token or a replayed webhook begins none of them again, even after a restart.
CREATE TABLE call_stages (
    call_sid TEXT PRIMARY KEY,
    stage INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;

CREATE INDEX call_stages_by_time ON call_stages (recorded_at);
