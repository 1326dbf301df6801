CREATE TABLE digests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The last post that it has counted.
    until INTEGER NOT NULL,
    posts INTEGER NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
