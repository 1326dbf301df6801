//! A camera that films a ball: an endless stream of JPEG pictures, ten a second.

mod huffman;
mod jpeg;
mod scene;

use embly::{
    Error,
    http::{Body, Flusher, Request, ResponseWriter, run_catch_error},
    prelude::*,
    sleep,
};
use std::time::Duration;

const BOUNDARY: &str = "next-picture";
const PAUSE: Duration = Duration::from_millis(100);

async fn execute(_req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    w.header("Content-Type", kind)?;
    w.header("Cache-Control", "no-store")?;
    write!(w, "--{BOUNDARY}\r\n")?;
    for time in 0.. {
        let picture = jpeg::encode(&scene::at(time));
        write!(
            w,
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
            picture.len()
        )?;
        w.write_all(&picture)?;
        // The boundary comes with the picture, so that the client shows it at once.
        write!(w, "\r\n--{BOUNDARY}\r\n")?;
        w.flush_response()?;
        sleep(PAUSE).await;
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
    fn ten_pictures_a_second_each_at_once_and_each_different() {
        mock::reset();
        let mut conn = mock::spawn_http(execute);
        conn.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut last = conn.bytes().unwrap();
        let head = String::from_utf8_lossy(&last);
        assert!(
            head.contains("multipart/x-mixed-replace; boundary=next-picture"),
            "{head}"
        );
        let start = mock::now();
        for _ in 0..10 {
            let picture = conn.bytes().unwrap();
            assert_ne!(picture, last);
            assert!(picture.ends_with(b"\r\n--next-picture\r\n\r\n"));
            last = picture;
        }
        assert_eq!(mock::now() - start, Duration::from_secs(1));
    }
}
