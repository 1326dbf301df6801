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
        "/dive" => drop(dive(1)),
        _ => std::process::exit(3),
    }
}

/// Without an end, and with much on the stack.
#[inline(never)]
fn dive(depth: u64) -> u64 {
    let values = std::hint::black_box([depth; 1024]);
    match depth {
        0 => 0,
        _ => dive(depth + 1) + values[7],
    }
}
