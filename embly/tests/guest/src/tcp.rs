//! Functions that connect to other servers.

use embly::{
    Conn, Error, block_on,
    http::{Body, Request, ResponseWriter},
    join,
    prelude::*,
    tcp::{self, ConnectError, Stream, Tls},
};

/// Connects as `?WAY,HOST:PORT` says, and says what became of it. `abort` sends half of something;
/// `leaves` sends something large, closes, and ends at once.
pub async fn dials(request: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let query = request.uri().query().unwrap_or_default();
    let (way, address) = query.split_once(',').expect("a way and an address");
    let aborts = way == "abort";
    let leaves = way == "leaves";
    let way = if aborts || leaves { "plain" } else { way };
    match open(way, address).await {
        Ok(stream) if aborts => {
            stream.send(b"half of").await?;
            stream.abort();
        }
        Ok(stream) if leaves => {
            stream.send(&[7; 200_000]).await?;
            stream.close_write()?;
            std::process::exit(0);
        }
        Ok(stream) => write!(w, "opened {}", stream.peer())?,
        Err(error) => write!(w, "{:?}: {error}", error.kind())?,
    }
    Ok(())
}

/// `plain`, `tls`, `tls:NAME`, `alpn:PROTOCOL`, or `starttls` with one byte each way before.
async fn open(way: &str, address: &str) -> Result<Stream, ConnectError> {
    let (way, name) = way.split_once(':').unwrap_or((way, ""));
    match way {
        "plain" => tcp::connect(address).await,
        "tls" => tcp::connect_tls_with(address, &Tls::new().server_name(name)).await,
        "alpn" => tcp::connect_tls_with(address, &Tls::new().alpn([name, "other"])).await,
        _ => {
            let mut plain = tcp::connect_starttls(address).await?;
            plain.send(b"?").await?;
            match plain.receive().await?.as_slice() {
                b"S" => plain.start_tls(&Tls::new().server_name(name)).await,
                _ => plain.stay_plain().await,
            }
        }
    }
}

/// The first line says `WAY HOST:PORT`, the rest goes there and back. `raw` speaks with the service
/// itself.
pub fn tunnels(conn: Conn) -> Result<(), Error> {
    block_on(async {
        let line = line(conn)?;
        let (way, address) = line.split_once(' ').expect("a way and an address");
        if way == "raw" {
            let service = embly::spawn_function("embly/tcp")?;
            relay(conn, service).await;
            return Ok(());
        }
        let stream = match open(way, address).await {
            Ok(stream) => stream,
            Err(error) => {
                conn.send(format!("{:?}: {error}\n", error.kind()).as_bytes())
                    .await?;
                return Ok(());
            }
        };
        let alpn = stream.alpn().unwrap_or_default();
        conn.send(format!("opened {} {alpn}\n", stream.peer()).as_bytes())
            .await?;
        relay(conn, stream.conn()).await;
        Ok(())
    })
}

fn line(mut conn: Conn) -> Result<String, Error> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while conn.read(&mut byte)? > 0 && byte != *b"\n" {
        line.push(byte[0]);
    }
    Ok(String::from_utf8(line)?)
}

/// Both ways; what breaks in one ends it all.
async fn relay(here: Conn, there: Conn) {
    let carry = |from: Conn, to: Conn| async move {
        loop {
            from.await?;
            match from.bytes()? {
                bytes if bytes.is_empty() => return to.close(),
                bytes => to.send(&bytes).await?,
            }
        }
    };
    let carry = |from, to| async move {
        if let Err(error) = carry(from, to).await {
            println!("broke: {error}");
            std::process::exit(3);
        }
    };
    join!(carry(here, there), carry(there, here));
}
