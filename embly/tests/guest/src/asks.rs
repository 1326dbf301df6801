//! A function that asks others over HTTP, as the headers of its own request say.

use std::io::Read;
use std::time::Duration;

use embly::{
    Error,
    http::{Body, Request, Response, ResponseWriter, client},
    prelude::*,
};

/// `x-url`, `x-method`, each `x-h-NAME` as the header NAME; `x-mode: whole` or `stream` sends the body
/// on. Answers with what it got: headers as `r-NAME`; or with 599 and `x-kind` for what went wrong.
pub async fn asks(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let response = match asked(&mut req).await {
        Ok(response) => response,
        Err(error) => {
            w.status(599)?;
            w.header("x-kind", format!("{:?}", error.kind()))?;
            write!(w, "{error}")?;
            return Ok(());
        }
    };
    let (head, mut body) = response.into_parts();
    w.status(head.status)?;
    for (name, value) in &head.headers {
        w.append_header(format!("r-{name}"), value)?;
    }
    let url = head.extensions.get::<client::FinalUrl>();
    w.header("x-final", url.map_or("", |url| &url.0))?;
    w.header("x-version", format!("{:?}", head.version))?;
    if req.headers().contains_key("x-ignore") {
        w.write_all(b"ignored")?;
        return Ok(());
    }
    w.flush_response()?;
    let mut chunks = body.chunks();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.inspect_err(|error| {
            let kind = error.downcast_ref().map(client::Error::kind);
            eprintln!("broken off: {kind:?}: {error}");
        })?;
        w.write_all(&chunk)?;
        w.flush_response()?;
    }
    Ok(())
}

async fn asked(req: &mut Request<Body>) -> Result<Response<Body>, client::Error> {
    let header = |name: &str| {
        req.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let number = |name: &str| header(name).map(|text| text.parse::<u64>().expect("a number"));
    let mut options = client::Options::new();
    if let Some(redirects) = number("x-redirects") {
        options = options.redirects(redirects as u32);
    }
    if header("x-compressed").is_some() {
        options = options.compressed();
    }
    if let Some(time) = number("x-time") {
        options = options.time(Duration::from_millis(time));
    }
    options = match header("x-version") {
        Some("1") => options.version(client::Version::Http1),
        Some("2") => options.version(client::Version::Http2),
        _ => options,
    };
    let mut asked = Request::builder()
        .method(header("x-method").unwrap_or("GET"))
        .uri(header("x-url").expect("a URL"))
        .extension(options);
    for (name, value) in req.headers() {
        if let Some(name) = name.as_str().strip_prefix("x-h-") {
            asked = asked.header(name, value);
        }
    }
    let mode = header("x-mode").unwrap_or_default().to_owned();
    let broken = |_| panic!("the client has gone");
    match mode.as_str() {
        "whole" => {
            let body = req.body_mut().bytes().unwrap_or_else(broken);
            client::send(asked.body(body).expect("a request")).await
        }
        "stream" => {
            let (upload, call) = client::start(asked.body(()).expect("a request"))?;
            let writes = async {
                let mut chunks = req.body_mut().chunks();
                while let Some(chunk) = chunks.next().await {
                    // The call says why nobody takes it.
                    if upload.send(&chunk.unwrap_or_else(broken)).await.is_err() {
                        return;
                    }
                }
                let _ = upload.finish();
            };
            // A response may come before the request is complete.
            embly::join!(writes, call).1
        }
        _ => client::send(asked.body("").expect("a request")).await,
    }
}

/// Sends the body of its request on and answers with the response, both as they come.
pub async fn relays(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let url = req.headers()["x-url"].to_str()?.to_owned();
    let (mut upload, call) = client::start(Request::post(url).body(())?)?;
    let writes = async {
        let mut chunks = req.body_mut().chunks();
        while let Some(chunk) = chunks.next().await {
            upload.send(&chunk?).await?;
        }
        upload.flush()?;
        upload.finish()
    };
    let reads = async {
        let mut response = call.await?;
        w.flush_response()?;
        let mut chunks = response.body_mut().chunks();
        while let Some(chunk) = chunks.next().await {
            w.write_all(&chunk?)?;
            w.flush_response()?;
        }
        Ok::<_, Error>(())
    };
    let (written, read) = embly::join!(writes, reads);
    written.and(read)
}

/// As many GETs of `x-url` as the query says, ten at a time, in the plain and in the async way.
pub async fn repeats(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let url = req.headers()["x-url"].to_str()?.to_owned();
    let count: usize = req.uri().query().unwrap_or("1").parse()?;
    let at_once: usize = match req.headers().get("x-at-once") {
        Some(number) => number.to_str()?.parse()?,
        None => 10,
    };
    let mut done = 0;
    while done < count {
        let calls: Vec<_> = (0..at_once.min(count - done))
            .map(|_| client::get(&url))
            .collect();
        done += calls.len();
        for response in embly::join_all(calls).await {
            let mut body = response?.into_body();
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes)?;
        }
    }
    write!(w, "{done}")?;
    Ok(())
}
