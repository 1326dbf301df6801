//! Does what it is told: the steps stand in the line `x-do:` of what arrives first, up to an
//! empty line, so that the same works as an HTTP request and from a parent.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use embly::{Conn, Error};

pub fn run(mut conn: Conn) -> Result<(), Error> {
    let head = head(&mut conn)?;
    let steps = head
        .lines()
        .find_map(|line| line.strip_prefix("x-do: "))
        .ok_or_else(|| Error::msg("nothing to do"))?;
    for step in steps.split("; ") {
        let (what, argument) = step.split_once(' ').unwrap_or((step, ""));
        let number = || argument.parse::<u64>().expect("a number");
        match what {
            "write" => conn.write_all(&unhex(argument))?,
            "fill" => fill(&mut conn, number())?,
            "read" => drop(conn.read_to_end(&mut Vec::new())?),
            "close" => conn.close()?,
            "call" => drop(embly::spawn_function(argument)?),
            "say" => println!("{argument}"),
            "complain" => eprintln!("{argument}"),
            "error" => embly::log::error!("{argument}"),
            "warn" => embly::log::warn!("{argument}"),
            "info" => embly::log::info!("{argument}"),
            "debug" => embly::log::debug!("{argument}"),
            "sleep" => thread::sleep(Duration::from_millis(number())),
            "spin" => loop {
                std::hint::spin_loop();
            },
            "burn" => burn(Duration::from_millis(number())),
            "eat" => loop {
                std::hint::black_box(Box::leak(vec![1u8; 1 << 20].into_boxed_slice()));
            },
            "trap" => core::arch::wasm32::unreachable(),
            "panic" => panic!("{argument}"),
            "exit" => std::process::exit(argument.parse().expect("a code")),
            other => panic!("no such step: {other}"),
        }
    }
    Ok(())
}

/// Works for so long.
fn burn(time: Duration) {
    let since = std::time::Instant::now();
    while since.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// What arrives up to the first empty line.
pub fn head(conn: &mut Conn) -> Result<String, Error> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && conn.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head)?)
}

/// So many bytes that are not all the same.
pub fn fill(to: &mut impl Write, mut bytes: u64) -> Result<(), Error> {
    let block: Vec<u8> = (0..64 * 1024u32).map(|n| (n % 251) as u8).collect();
    while bytes > 0 {
        let piece = block.len().min(usize::try_from(bytes)?);
        to.write_all(&block[..piece])?;
        bytes -= piece as u64;
    }
    Ok(())
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}
