//! WebSockets, with the test as the client.

#![allow(clippy::unwrap_used, reason = "a test may")]

use embly_sdk::{
    self as embly, Error,
    http::Request,
    join, mock,
    websocket::{Message, Socket},
};

fn ask(path: &str) -> Request<()> {
    Request::get(path).header("x-name", "you").body(()).unwrap()
}

fn plain_echo(socket: Socket) -> Result<(), Error> {
    while let Some(message) = socket.receive().wait()? {
        socket.send(message).wait()?;
    }
    Ok(())
}

async fn async_echo(socket: Socket) -> Result<(), Error> {
    while let Some(message) = socket.receive().await? {
        socket.send(message).await?;
    }
    Ok(())
}

fn echoes(client: &Socket) {
    for message in [
        Message::from("é"),
        Message::from(""),
        Message::from(vec![0, 255]),
        Message::Ping(b"p".to_vec()),
        Message::Pong(b"q".to_vec()),
        Message::Close(Some((1000, "bye".into()))),
        Message::Close(None),
    ] {
        client.send(message.clone()).wait().unwrap();
        assert_eq!(client.receive().wait().unwrap(), Some(message));
    }
    client.conn().close().unwrap();
    assert_eq!(client.receive().wait().unwrap(), None);
    assert!(client.conn().status().unwrap().is_ok());
}

#[test]
fn messages_keep_their_kind_and_their_boundaries_plain_and_async() {
    echoes(&mock::websocket(plain_echo, ask("/")));
    echoes(&mock::websocket(async_echo, ask("/")));
}

#[test]
fn a_handler_sees_the_request_that_began_it() {
    let client = mock::websocket(
        |socket: Socket| async move {
            let head = socket.head();
            let name = head.headers()["x-name"].to_str()?.to_owned();
            let text = format!("{} {name}", head.uri());
            socket.send(text).await
        },
        ask("/a?b=c"),
    );
    let message = client.receive().wait().unwrap();
    assert_eq!(message, Some(Message::from("/a?b=c you")));
}

#[test]
fn a_message_larger_than_the_window_passes_while_another_comes_back() {
    let client = mock::websocket(async_echo, ask("/"));
    let big = vec![7; 3 << 20];
    let received = embly::block_on(async {
        let send = async {
            client.send(big.clone()).await?;
            client.send("after it").await
        };
        let receive = async { Ok::<_, Error>((client.receive().await?, client.receive().await?)) };
        let (sent, received) = join!(send, receive);
        sent.unwrap();
        received.unwrap()
    });
    assert_eq!(received.0, Some(Message::Binary(big)));
    assert_eq!(received.1, Some(Message::from("after it")));
}

#[test]
fn messages_that_are_sent_at_once_do_not_mix() {
    let client = mock::websocket(
        |socket: Socket| async move {
            let (one, two) = join!(socket.send(vec![1; 1 << 20]), socket.send(vec![2; 1 << 20]));
            one.and(two)
        },
        ask("/"),
    );
    for byte in [1, 2] {
        let message = client.receive().wait().unwrap();
        assert_eq!(message, Some(Message::Binary(vec![byte; 1 << 20])));
    }
}

#[test]
fn a_message_that_breaks_off_is_an_error() {
    use embly::prelude::*;
    let client = mock::websocket(plain_echo, ask("/"));
    client.conn().write_all(&[1, 9, 0, 0, 0, b'x']).unwrap();
    client.conn().close().unwrap();
    let error = client.receive().wait().unwrap_err();
    assert_eq!(error.exit().unwrap().code, 1);
}
