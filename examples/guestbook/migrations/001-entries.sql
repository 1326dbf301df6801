-- Who has been here, and what they had to say.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    message TEXT NOT NULL CHECK (message <> ''),
    written TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;
