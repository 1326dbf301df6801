//! A function that holds a WebSocket.

use std::time::Duration;

use embly::Error;
use embly::prelude::*;
use embly::websocket::{Message, Socket};

/// Sends back what comes, but for text that begins with `!`, which says what to do.
pub async fn socket(socket: Socket) -> Result<(), Error> {
    while let Some(message) = socket.receive().await? {
        match message {
            Message::Text(text) if text.starts_with('!') => {
                if obey(&socket, &text[1..]).await? {
                    return Ok(());
                }
            }
            Message::Pong(bytes) => {
                let text = format!("pong {}", String::from_utf8_lossy(&bytes));
                socket.send(text).await?;
            }
            Message::Close(close) => println!("closed {close:?}"),
            Message::Ping(_) => println!("a ping is shown"),
            other => socket.send(other).await?,
        }
    }
    println!("at the end");
    Ok(())
}

/// Sends back what comes, and nothing else.
pub async fn mirror(socket: Socket) -> Result<(), Error> {
    while let Some(message) = socket.receive().await? {
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Whether it is over.
async fn obey(socket: &Socket, text: &str) -> Result<bool, Error> {
    let (what, rest) = text.split_once(' ').unwrap_or((text, ""));
    match what {
        "head" => {
            let head = socket.head();
            let mut text = format!("{} {}\n", head.method(), head.uri());
            for (name, value) in head.headers() {
                text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
            }
            socket.send(text).await?;
        }
        "ping" => socket.send(Message::Ping(rest.into())).await?,
        "close" => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            socket.close(code.parse()?, reason).await?;
        }
        "close-empty" => socket.send(Message::Close(None)).await?,
        "half-close" => socket.conn().close()?,
        "return" => return Ok(true),
        "fail" => return Err(Error::msg("as asked")),
        "panic" => panic!("as asked"),
        "big" => socket.send(vec![b'x'; rest.parse()?]).await?,
        "raw" => {
            let hex: Result<Vec<u8>, _> = (0..rest.len() / 2)
                .map(|at| u8::from_str_radix(&rest[2 * at..2 * at + 2], 16))
                .collect();
            socket.conn().write_all(&hex?)?;
        }
        other => socket.send(format!("what is {other}?")).await?,
    }
    Ok(false)
}

/// Receives nothing, and does not end.
pub async fn deaf(_: Socket) {
    embly::sleep(Duration::from_secs(3600)).await;
}
