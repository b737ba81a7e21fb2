-- The one server that works on this ledger. Without an owner no server does.
CREATE TABLE lease (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    owner TEXT,
    -- Counts the servers that have taken the lease.
    epoch INTEGER NOT NULL,
    -- Counts up while the owner lives; when it did so last is in milliseconds since 1970, in UTC.
    beat INTEGER NOT NULL,
    beat_at INTEGER NOT NULL,
    -- The file that the owner opened: the inode and, where the file system tells it, the birth in nanoseconds since 1970. A
    -- copy of the file has others.
    inode INTEGER NOT NULL,
    born INTEGER
) STRICT;

INSERT INTO lease (id, owner, epoch, beat, beat_at, inode) VALUES (1, NULL, 0, 0, 0, 0);
