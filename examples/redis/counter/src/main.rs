//! Counts what it is asked for, in Redis.

mod resp;

use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
};
use resp::{Client, Reply};

/// Names that are shown.
const LATELY: &str = "4";

async fn execute(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let name = req.uri().path().trim_start_matches('/');
    let address = std::env::var("REDIS").unwrap_or_else(|_| "127.0.0.1:6379".to_owned());
    let mut redis = Client::connect(&address).await?;
    let key = format!("count:{name}");
    let commands: [&[&str]; 4] = [
        &["INCR", &key],
        &["LPUSH", "lately", name],
        &["LTRIM", "lately", "0", LATELY],
        &["LRANGE", "lately", "0", "-1"],
    ];
    let replies = redis.pipeline(&commands).await?;
    let [Reply::Integer(count), _, _, Reply::Array(lately)] = replies.as_slice() else {
        return Err(Error::msg("Redis answers strangely"));
    };
    let lately: Vec<_> = lately.iter().map(Reply::to_string).collect();
    w.header("Content-Type", "text/plain")?;
    write!(w, "{name}: {count}\nlately: {}\n", lately.join(", "))?;
    Ok(())
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{Conn, mock};

    #[test]
    fn the_commands_go_out_at_once_and_their_replies_may_come_in_pieces() {
        mock::tcp::listen("127.0.0.1:6379", |mut conn: Conn| -> Result<(), Error> {
            let asked = String::from_utf8(conn.bytes()?)?;
            assert!(asked.starts_with("*2\r\n$4\r\nINCR\r\n$10\r\ncount:milk\r\n"));
            assert!(
                asked.ends_with("*4\r\n$6\r\nLRANGE\r\n$6\r\nlately\r\n$1\r\n0\r\n$2\r\n-1\r\n")
            );
            for piece in [
                ":7\r\n:1",
                "\r\n+OK\r\n*2\r\n$4\r\nmi",
                "lk\r\n$3\r\negg\r\n",
            ] {
                conn.write_all(piece.as_bytes())?;
                embly::sleep(std::time::Duration::from_secs(1)).wait();
            }
            Ok(())
        });
        let response = mock::http(execute, Request::get("/milk").body("").unwrap());
        assert_eq!(response.text(), "milk: 7\nlately: milk, egg\n");
    }

    #[test]
    fn without_a_server_it_is_an_error() {
        let response = mock::http(execute, Request::get("/milk").body("").unwrap());
        assert_eq!(response.status, 500);
    }
}
