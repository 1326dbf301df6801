//! Says what it is told, over a WebSocket; one process for each connection.

use embly::Error;
use embly::websocket::{Message, Socket, run};

async fn execute(socket: Socket) -> Result<(), Error> {
    while let Some(message) = socket.receive().await? {
        if let Message::Text(_) | Message::Binary(_) = message {
            socket.send(message).await?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{http::Request, mock};

    #[test]
    fn what_is_said_comes_back() {
        let socket = mock::websocket(execute, Request::get("/").body(()).unwrap());
        socket.send(Message::Text("hello".into())).wait().unwrap();
        let answer = socket.receive().wait().unwrap();
        assert_eq!(answer, Some(Message::Text("hello".into())));
    }
}
