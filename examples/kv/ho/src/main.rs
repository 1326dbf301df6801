//! Sets ten keys at once, and then gets them at once.

use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    join_all, kv,
    prelude::*,
};

async fn execute(_req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let keys: Vec<String> = (0..10).map(|n| format!("ho/{n}")).collect();
    // Each is sent when it is called; then all are awaited.
    let sets: Vec<_> = keys
        .iter()
        .map(|key| kv::set(key.as_bytes(), b"ho"))
        .collect();
    for set in join_all(sets).await {
        set?;
    }
    let gets: Vec<_> = keys.iter().map(|key| kv::get(key.as_bytes())).collect();
    for value in join_all(gets).await {
        w.write_all(&value?)?;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{Reason, mock};

    #[test]
    fn what_was_set_ten_times_is_got_ten_times() {
        let response = mock::http(execute, Request::get("/").body("").unwrap());
        assert_eq!(response.status, 200);
        assert_eq!(response.text(), "hohohohohohohohohoho");
        let entries = mock::kv::entries("default");
        assert_eq!(entries.len(), 10);
        assert!(
            entries
                .iter()
                .all(|(key, value)| key.starts_with(b"ho/") && value == b"ho")
        );
    }

    #[test]
    fn a_store_that_fails_is_a_500() {
        mock::function("embly/kv/set", |_: embly::Conn| {
            mock::end(Reason::Exit, 0, "no disk")
        });
        let response = mock::http(execute, Request::get("/").body("").unwrap());
        assert_eq!(response.status, 500);
    }
}
