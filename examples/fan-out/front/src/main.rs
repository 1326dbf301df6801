//! Counts the words of the request body with eight children at once.

use embly::{
    Conn, Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    join, join_all,
    prelude::*,
    spawn_function,
};

const WORKERS: usize = 8;

async fn execute(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let body = req.body_mut().bytes()?;
    let (mut words, mut bytes) = (0, 0);
    for answer in join_all(parts(&body).into_iter().map(count)).await {
        let (part_words, part_bytes) = answer?;
        words += part_words;
        bytes += part_bytes;
    }
    w.header("Content-Type", "text/plain")?;
    writeln!(w, "{WORKERS} workers: {words} words, {bytes} bytes")?;
    Ok(())
}

/// Has one worker count one part. It is fed while its answer is awaited: the two never wait for
/// each other.
async fn count(part: &[u8]) -> Result<(usize, usize), Error> {
    let worker = spawn_function("worker")?;
    let feed = async {
        worker.send(part).await?;
        worker.close()
    };
    let (fed, answer) = join!(feed, answer(worker));
    fed?;
    let answer = answer?;
    let (words, bytes) = answer
        .split_once(' ')
        .ok_or_else(|| Error::msg("not an answer"))?;
    Ok((words.parse()?, bytes.parse()?))
}

/// All that a worker says until it ends.
async fn answer(worker: Conn) -> Result<String, Error> {
    let mut answer = String::new();
    loop {
        worker.await?;
        match worker.string()? {
            more if more.is_empty() => return Ok(answer),
            more => answer += &more,
        }
    }
}

/// The body in eight parts of about the same size, cut where there is a space.
fn parts(body: &[u8]) -> Vec<&[u8]> {
    let mut rest = body;
    (1..=WORKERS)
        .rev()
        .map(|left| {
            let about = rest.len() / left;
            let to_space = rest[about..].iter().position(u8::is_ascii_whitespace);
            let at = if left == 1 {
                rest.len()
            } else {
                to_space.map_or(rest.len(), |it| about + it)
            };
            let (part, tail) = rest.split_at(at);
            rest = tail;
            part
        })
        .collect()
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock;

    fn stand_in(mut conn: Conn) -> Result<(), Error> {
        let mut part = String::new();
        conn.read_to_string(&mut part)?;
        Ok(write!(
            conn,
            "{} {}",
            part.split_whitespace().count(),
            part.len()
        )?)
    }

    #[test]
    fn the_parts_make_up_the_whole() {
        mock::function("worker", stand_in);
        for words in [0, 1, 5, 1000, 100_000] {
            let body = "word ".repeat(words);
            let response = mock::http(execute, Request::post("/").body(&body).unwrap());
            let expected = format!("8 workers: {words} words, {} bytes\n", body.len());
            assert_eq!(response.text(), expected);
        }
    }

    #[test]
    fn a_part_has_whole_words() {
        for part in parts(b"one two three four five six seven eight nine ten") {
            assert!(part.iter().filter(|it| **it == b' ').count() <= 3);
        }
        assert_eq!(parts(b"onelongword").concat(), b"onelongword");
    }

    #[test]
    fn a_worker_that_fails_is_a_500() {
        mock::function("worker", |_: Conn| panic!("on purpose"));
        let response = mock::http(execute, Request::post("/").body("a b c").unwrap());
        assert_eq!(response.status, 500);
    }
}
