//! Passes on what happens to another server, where there is one.

use embly::{
    Conn, Error,
    http::{Request, client},
    log, run,
};
use std::time::Duration;

async fn execute(conn: Conn) -> Result<(), Error> {
    let url = std::env::var("WEBHOOK_URL").unwrap_or_default();
    if url.is_empty() {
        return Ok(());
    }
    let event = kit::all(conn).await?;
    send(&url, event).await
}

async fn send(url: &str, event: Vec<u8>) -> Result<(), Error> {
    let request = Request::post(url)
        .header("content-type", "application/json")
        .extension(client::Options::new().time(Duration::from_secs(10)));
    let response = client::send(request.body(event)?).await?;
    if !response.status().is_success() {
        log::warn!("the webhook has answered {}", response.status());
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock;
    use std::sync::mpsc;

    #[test]
    fn what_happens_is_passed_on() {
        let (sent, received) = mpsc::channel();
        mock::http_client::host("hook.test", move |request: Request<Vec<u8>>| {
            let _ = sent.send(request);
            embly::http::Response::new(Vec::new())
        });
        let event = br#"{"text":"hello"}"#.to_vec();
        mock::spawn(move |_: Conn| {
            let event = event.clone();
            async move { send("https://hook.test/board", event).await }
        })
        .status()
        .unwrap();
        let request = received.try_recv().unwrap();
        assert_eq!(request.uri().path(), "/board");
        assert_eq!(request.body(), br#"{"text":"hello"}"#);
    }

    #[test]
    fn without_a_url_nothing_is_done() {
        let end = mock::spawn(execute).status().unwrap();
        assert_eq!(end.reason.to_string(), "ok");
    }
}
