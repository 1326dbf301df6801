//! Asks another function, and answers with what it says.

use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
    spawn_function,
};

async fn execute(_req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut hello = spawn_function("hello")?;
    let mut answer = Vec::new();
    hello.read_to_end(&mut answer)?;

    w.header("Content-Type", "text/plain")?;
    w.write_all(&answer)?;
    Ok(())
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{Conn, mock};

    fn get() -> Request<&'static str> {
        Request::get("/").body("").unwrap()
    }

    #[test]
    fn passes_the_answer_on() {
        mock::function("hello", |mut conn: Conn| conn.write_all(b"a stand-in"));
        let response = mock::http(execute, get());
        assert_eq!(response.header("content-type"), Some("text/plain"));
        assert_eq!(response.text(), "a stand-in");
    }

    #[test]
    fn half_an_answer_is_none() {
        mock::function("hello", |mut conn: Conn| {
            conn.write_all(b"Emb").unwrap();
            panic!("on purpose");
        });
        assert_eq!(mock::http(execute, get()).status, 500);
    }
}
