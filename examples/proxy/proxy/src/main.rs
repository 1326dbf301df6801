//! A reverse proxy: what comes in goes on to another server, what comes back goes out, both as they
//! come.

use embly::{
    Error,
    http::{
        Body, HeaderMap, HeaderName, Request, Response, ResponseWriter, StatusCode,
        client::{self, Call, Kind, Upload},
        header, run_catch_error,
    },
    join,
    prelude::*,
};

async fn execute(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let target = std::env::var("TARGET")?;
    let (upload, call) = match forward(&req, &target) {
        Ok(begun) => begun,
        Err(error) => return Ok(refuse(&mut w, &error)?),
    };
    // Neither waits for the other: an answer may begin before the request has ended.
    let (_, answered) = join!(send(&mut req, upload), answer(call, &mut w));
    answered
}

/// Begins the same request to the other server; where it has a body, that goes to the upload.
fn forward(req: &Request<Body>, target: &str) -> Result<(Option<Upload>, Call), client::Error> {
    let path = req.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut forwarded = Request::new(());
    *forwarded.method_mut() = req.method().clone();
    *forwarded.headers_mut() = end_to_end(req.headers());
    forwarded.extensions_mut().insert(
        // The client follows redirects, and unpacks, as it likes.
        client::Options::new().redirects(0).compressed(),
    );
    match format!("{target}{path}").parse() {
        Ok(uri) => *forwarded.uri_mut() = uri,
        // The service says what is wrong with it.
        Err(_) => *forwarded.uri_mut() = Default::default(),
    }
    let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    if framed.iter().any(|name| req.headers().contains_key(name)) {
        let (upload, call) = client::start(forwarded)?;
        Ok((Some(upload), call))
    } else {
        Ok((None, client::send(forwarded.map(|()| ""))))
    }
}

/// Passes on the body of the request.
async fn send(req: &mut Request<Body>, upload: Option<Upload>) -> Result<(), Error> {
    let Some(upload) = upload else { return Ok(()) };
    let mut chunks = req.body_mut().chunks();
    while let Some(chunk) = chunks.next().await {
        // When the client breaks off, so does the request: `upload` is dropped.
        upload.send(&chunk?).await?;
    }
    upload.finish()
}

/// Passes on the response.
async fn answer(call: Call, w: &mut ResponseWriter) -> Result<(), Error> {
    let mut response: Response<Body> = match call.await {
        Ok(response) => response,
        Err(error) => return Ok(refuse(w, &error)?),
    };
    w.status(response.status())?;
    for (name, value) in &end_to_end(response.headers()) {
        w.append_header(name, value)?;
    }
    w.flush_response()?;
    let mut chunks = response.body_mut().chunks();
    while let Some(chunk) = chunks.next().await {
        // A response that breaks off is cut here as well.
        w.write_all(&chunk?)?;
        w.flush_response()?;
    }
    Ok(())
}

/// The headers that are not for one connection only, and not for this host.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [
        header::HOST,
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::EXPECT,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
    headers
}

/// Says that there is nothing to pass on. Why goes to the log: it is not for the client.
fn refuse(w: &mut ResponseWriter, error: &client::Error) -> Result<(), Error> {
    eprintln!("{error}");
    let status = match error.kind() {
        Kind::NotAllowed => StatusCode::FORBIDDEN,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    w.status(status)?;
    w.header(header::CONTENT_TYPE, "text/plain")?;
    writeln!(w, "{status}")?;
    Ok(())
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock;

    /// The handler, with the other server of the tests.
    async fn proxied(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
        let (upload, call) = forward(&req, "http://files.test")?;
        join!(send(&mut req, upload), answer(call, &mut w)).1
    }

    #[test]
    fn requests_and_responses_are_passed_on() {
        mock::http_client::host("files.test", |request| {
            assert_eq!(request.method(), "PUT");
            assert_eq!(request.uri().path_and_query().unwrap(), "/a?b=c");
            assert_eq!(request.headers()["x-own"], "1");
            assert!(!request.headers().contains_key("connection"));
            Response::builder()
                .status(201)
                .header("x-answer", "2")
                .header("keep-alive", "timeout=5")
                .body(request.into_body())
                .unwrap()
        });
        let body = vec![7; 300_000];
        let request = Request::put("/a?b=c")
            .header("x-own", "1")
            .header("connection", "x-own")
            .header("host", "me")
            .body(&body)
            .unwrap();
        let response = mock::http(proxied, request);
        assert_eq!(
            (response.status, response.header("x-answer")),
            (StatusCode::CREATED, Some("2"))
        );
        assert_eq!(response.header("keep-alive"), None);
        assert!(response.complete && response.body == body);
    }

    #[test]
    fn what_goes_wrong_has_a_status_and_no_more() {
        for (kind, status) in [
            (Kind::NotAllowed, 403),
            (Kind::Connect, 502),
            (Kind::Timeout, 504),
        ] {
            mock::http_client::any(move |_| mock::http_client::fail(kind, "the inner network"));
            let response = mock::http(proxied, Request::get("/").body("").unwrap());
            assert_eq!(response.status, status);
            assert!(!response.text().contains("inner"));
        }
    }
}
