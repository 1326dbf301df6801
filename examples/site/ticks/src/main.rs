//! A stream of events, each sent as it happens.

use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
    sleep,
};
use std::time::Duration;

async fn execute(_req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    w.header("Content-Type", "text/event-stream")?;
    for tick in 1..=3 {
        write!(w, "data: {tick}\n\n")?;
        w.flush_response()?;
        sleep(Duration::from_millis(100)).await;
    }
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
    fn three_ticks_come() {
        let response = mock::http(execute, Request::get("/ticks").body("").unwrap());
        assert_eq!(response.text(), "data: 1\n\ndata: 2\n\ndata: 3\n\n");
    }
}
