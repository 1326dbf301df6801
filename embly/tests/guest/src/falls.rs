//! A function that falls from some way down.

use embly::Error;
use embly::http::{Body, Request, ResponseWriter};

/// Ends as the path says, three functions down.
pub fn falls(request: Request<Body>, _: ResponseWriter) -> Result<(), Error> {
    first(request.uri().path());
    Ok(())
}

#[inline(never)]
fn first(how: &str) {
    second(how);
    // Not the last thing that it does, so that it has a frame of its own.
    std::hint::black_box(how);
}

#[inline(never)]
fn second(how: &str) {
    match how {
        "/trap" => core::arch::wasm32::unreachable(),
        "/panic" => panic!("no luck"),
        "/spin" => loop {
            std::hint::spin_loop();
        },
        "/wait" => std::thread::sleep(std::time::Duration::from_secs(60)),
        "/eat" => loop {
            std::hint::black_box(Box::leak(vec![1u8; 1 << 20].into_boxed_slice()));
        },
        _ => std::process::exit(3),
    }
}
