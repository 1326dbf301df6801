//! SQLite with the same table and the same settings, used by this thread alone.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};

/// A file of its own.
pub struct Direct {
    connection: Connection,
    number: u64,
}

impl Direct {
    pub fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB NOT NULL,
                 version INTEGER NOT NULL, expires INTEGER) WITHOUT ROWID, STRICT;
                 INSERT INTO entries VALUES (x'00', zeroblob(100), 1, NULL)",
            )
            .unwrap();
        let number = 1;
        Self { connection, number }
    }

    /// What each took, in nanoseconds.
    pub fn gets(&self, count: u32) -> Vec<u64> {
        let mut get = self
            .connection
            .prepare("SELECT value, version, expires FROM entries WHERE key = ?1")
            .unwrap();
        let times = (0..count).map(|_| {
            let began = Instant::now();
            let value = get.query_row([&[0_u8][..]], |row| row.get::<_, Vec<u8>>(0));
            assert_eq!(value.unwrap().len(), 100);
            began.elapsed().as_nanos() as u64
        });
        times.collect()
    }

    /// So many commits of so many changes.
    pub fn sets(&mut self, commits: u32, together: u32) {
        for _ in 0..commits {
            let transaction = self.connection.transaction().unwrap();
            let mut set = transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO entries VALUES (?1, zeroblob(100), ?2, NULL)",
                )
                .unwrap();
            for _ in 0..together {
                self.number += 1;
                // As the functions do: each its own keys, again in each round.
                let key = [&[1_u8; 8][..], &(self.number % 20_000).to_le_bytes()].concat();
                set.execute(params![key, self.number.cast_signed()])
                    .unwrap();
            }
            drop(set);
            transaction.commit().unwrap();
        }
    }
}
