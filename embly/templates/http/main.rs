//! Answers requests of HTTP.

use embly::Error;
use embly::http::{Body, Request, ResponseWriter, run_catch_error};
use embly::prelude::*;

async fn execute(request: Request<Body>, mut response: ResponseWriter) -> Result<(), Error> {
    response.header("content-type", "text/plain")?;
    writeln!(response, "Hello from {}", request.uri().path())?;
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
    fn says_hello_from_the_path() {
        let request = Request::get("/here").body("").unwrap();
        let response = mock::http(execute, request);
        assert_eq!(response.status, 200);
        assert_eq!(response.text(), "Hello from /here\n");
    }
}
