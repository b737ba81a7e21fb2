-- What the guards count: the payments of a caller, and wrong entries, declines and card testing by time.
CREATE INDEX payments_of_a_caller ON payments (caller, opened_at) WHERE caller IS NOT NULL;
CREATE INDEX events_by_kind ON events (kind, at);
