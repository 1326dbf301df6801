//! Counts and hashes a request body of any size.

use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
};
use sha2::{Digest, Sha256};

/// All the memory that a body takes, however large it is.
const BUFFER: usize = 64 * 1024;

fn execute(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let mut buffer = vec![0; BUFFER];
    let (mut hash, mut count) = (Sha256::new(), 0_u64);
    loop {
        // An upload that breaks off is an error, so what is counted here is complete.
        let n = req.body_mut().read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        count += n as u64;
    }
    w.header("Content-Type", "text/plain")?;
    writeln!(w, "{count} bytes, sha256 {:x}", hash.finalize())?;
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
    fn counts_and_hashes() {
        let response = mock::http(execute, Request::post("/").body("abc").unwrap());
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(response.text(), format!("3 bytes, sha256 {abc}\n"));
    }

    #[test]
    fn a_large_body_is_taken_in_pieces() {
        let body = vec![7; 5_000_000];
        let response = mock::http(execute, Request::post("/").body(&body).unwrap());
        assert_eq!(
            response.text(),
            format!("5000000 bytes, sha256 {:x}\n", Sha256::digest(&body))
        );
    }

    #[test]
    fn half_an_upload_is_not_counted() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc";
        let (response, _) = mock::exchange(execute, request);
        assert!(response.starts_with(b"HTTP/1.1 500 "));
    }
}
