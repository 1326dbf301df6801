//! What the page asks for: `/api/hello/{name}`.

use embly::Error;
use embly::http::{Body, Request, ResponseWriter, run_catch_error};
use embly::prelude::*;

async fn execute(request: Request<Body>, mut response: ResponseWriter) -> Result<(), Error> {
    // The gateway says what stands in the place of `{name}`, percent-encoded as in the path.
    let name = match request.headers().get("embly-param-name") {
        Some(name) => name.to_str()?,
        None => "nobody",
    };
    response.header("content-type", "text/plain; charset=utf-8")?;
    writeln!(response, "Hello {name}")?;
    Ok(())
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock;

    #[test]
    fn says_hello_by_name() {
        let request = Request::get("/api/hello/you").header("embly-param-name", "you");
        let response = mock::http(execute, request.body("").unwrap());
        assert_eq!(response.status, 200);
        assert_eq!(response.text(), "Hello you\n");
    }
}
