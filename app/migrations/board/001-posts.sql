CREATE TABLE posts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    author TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
CREATE INDEX posts_of_author ON posts (author, id);
CREATE INDEX posts_in_time ON posts (at);

-- The words of the posts, by which they are found.
CREATE VIRTUAL TABLE words USING fts5 (text, content = 'posts', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2');
CREATE TRIGGER posts_words AFTER INSERT ON posts BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
