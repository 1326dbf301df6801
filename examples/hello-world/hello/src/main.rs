use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
};

async fn execute(_req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    w.write_all(b"Hello World")?;
    Ok(())
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[test]
fn says_hello_on_any_path() {
    let request = Request::get("/any/path").body("").unwrap();
    assert_eq!(embly::mock::http(execute, request).text(), "Hello World");
}
