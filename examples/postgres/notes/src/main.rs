//! Notes in PostgreSQL: a POST adds one, and every answer shows all of them.

mod client;

use client::{Client, Settings};
use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS notes (\
                      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)";

async fn execute(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut database = Client::connect(&settings()).await?;
    if req.method() == "POST" {
        let text = String::from_utf8(req.body_mut().bytes()?)?;
        database.query(CREATE, &[]).await?;
        database
            .query("INSERT INTO notes (text) VALUES ($1)", &[Some(&text)])
            .await?;
    }
    let rows = database
        .query(
            "SELECT id, text FROM notes WHERE id > $1 ORDER BY id",
            &[Some("0")],
        )
        .await?;
    w.header("Content-Type", "text/plain")?;
    for row in rows {
        let column = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or("NULL");
        writeln!(w, "{}: {}", column(0), column(1))?;
    }
    Ok(())
}

fn settings() -> Settings {
    let of = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    Settings {
        address: of("POSTGRES", "127.0.0.1:5432"),
        user: of("POSTGRES_USER", "embly"),
        password: of("POSTGRES_PASSWORD", ""),
        database: of("POSTGRES_DATABASE", "postgres"),
        tls: of("POSTGRES_TLS", "no") == "yes",
    }
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{Conn, mock};

    /// A message of the server.
    fn says(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[kind], length.as_slice(), body].concat()
    }

    /// Lets everybody in, and answers each statement with this.
    fn server(mut conn: Conn, answer: &[u8]) -> Result<(), Error> {
        conn.bytes()?;
        conn.write_all(&says(b'R', &[0; 4]))?;
        conn.write_all(&says(b'Z', b"I"))?;
        while !conn.bytes()?.is_empty() {
            conn.write_all(answer)?;
            conn.write_all(&says(b'Z', b"I"))?;
        }
        Ok(())
    }

    #[test]
    fn rows_become_lines() {
        let row = [&[0, 2, 0, 0, 0, 1, b'7', 0, 0, 0, 2], "hi".as_bytes()].concat();
        let answer = [says(b'1', b""), says(b'2', b""), says(b'D', &row)].concat();
        mock::tcp::listen("127.0.0.1:5432", move |conn: Conn| server(conn, &answer));
        let response = mock::http(execute, Request::get("/").body("").unwrap());
        assert_eq!(response.text(), "7: hi\n");
    }

    #[test]
    fn what_the_server_refuses_is_an_error() {
        let answer = says(
            b'E',
            b"SERROR\0C42P01\0Mrelation \"notes\" does not exist\0\0",
        );
        mock::tcp::listen("127.0.0.1:5432", move |conn: Conn| server(conn, &answer));
        let response = mock::http(execute, Request::get("/").body("").unwrap());
        assert_eq!(response.status, 500);
    }
}
