//! A client of PostgreSQL, over a connection of `embly::tcp`:
//! <https://www.postgresql.org/docs/current/protocol.html>.

use bytes::{BufMut, BytesMut};
use embly::{
    Error,
    tcp::{self, Stream, Tls},
};
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    IsNull,
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::{
        backend::{DataRowBody, ErrorResponseBody, Message},
        frontend,
    },
};

/// Where the database is, and who we are.
pub struct Settings {
    pub address: String,
    pub user: String,
    pub password: String,
    pub database: String,
    /// Whether it has to be TLS.
    pub tls: bool,
}

/// A session with the server.
pub struct Client {
    stream: Stream,
    unread: BytesMut,
}

/// The columns of a row, as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

impl Client {
    /// Connects and logs in.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        let stream = match settings.tls {
            true => with_tls(&settings.address).await?,
            false => tcp::connect(&settings.address).await?,
        };
        let mut client = Self {
            stream,
            unread: BytesMut::new(),
        };
        client.log_in(settings).await?;
        Ok(client)
    }

    async fn log_in(&mut self, settings: &Settings) -> Result<(), Error> {
        let mut message = BytesMut::new();
        let parameters = [
            ("user", settings.user.as_str()),
            ("database", settings.database.as_str()),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(parameters, &mut message)?;
        self.send(&message).await?;
        loop {
            match self.message().await? {
                Message::AuthenticationSasl(body) => {
                    let offered: Vec<_> = body.mechanisms().map(|m| Ok(m.to_owned())).collect()?;
                    if !offered.iter().any(|mechanism| mechanism == SCRAM_SHA_256) {
                        return Err(Error::msg("the server does not know SCRAM-SHA-256"));
                    }
                    self.scram(&settings.password).await?;
                }
                Message::AuthenticationOk => {}
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(refusal(&body)),
                Message::AuthenticationCleartextPassword
                | Message::AuthenticationMd5Password(_) => {
                    return Err(Error::msg(
                        "the server wants a password that could be stolen",
                    ));
                }
                // Its version, its settings, its process.
                _ => {}
            }
        }
    }

    /// Shows that we know the password, and sees that the server does.
    async fn scram(&mut self, password: &str) -> Result<(), Error> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let mut message = BytesMut::new();
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut message)?;
        self.send(&message).await?;
        match self.message().await? {
            Message::AuthenticationSaslContinue(body) => scram.update(body.data())?,
            other => return Err(unexpected(&other)),
        }
        let mut message = BytesMut::new();
        frontend::sasl_response(scram.message(), &mut message)?;
        self.send(&message).await?;
        match self.message().await? {
            Message::AuthenticationSaslFinal(body) => Ok(scram.finish(body.data())?),
            other => Err(unexpected(&other)),
        }
    }

    /// Prepares a statement, carries it out with these parameters, and gives its rows.
    pub async fn query(
        &mut self,
        statement: &str,
        parameters: &[Option<&str>],
    ) -> Result<Vec<Row>, Error> {
        let mut messages = BytesMut::new();
        frontend::parse("", statement, [], &mut messages)?;
        let put = |value: &Option<&str>, to: &mut BytesMut| {
            let Some(value) = value else {
                return Ok(IsNull::Yes);
            };
            to.put_slice(value.as_bytes());
            Ok(IsNull::No)
        };
        // Parameters and results as text.
        frontend::bind("", "", [], parameters, put, [], &mut messages)
            .map_err(|_| Error::msg("a parameter is too long"))?;
        frontend::execute("", 0, &mut messages)?;
        frontend::sync(&mut messages);
        self.send(&messages).await?;
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            match self.message().await? {
                Message::DataRow(body) => rows.push(row(&body)?),
                // It is ready for the next one all the same.
                Message::ErrorResponse(body) => refused = Some(refusal(&body)),
                Message::ReadyForQuery(_) => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.send(bytes).await
    }

    async fn message(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = Message::parse(&mut self.unread)? {
                return Ok(message);
            }
            let more = self.stream.receive().await?;
            if more.is_empty() {
                return Err(Error::msg("the server has closed the connection"));
            }
            self.unread.extend_from_slice(&more);
        }
    }
}

/// Asks for TLS, which is answered by one byte before it begins.
async fn with_tls(address: &str) -> Result<Stream, Error> {
    let mut plain = tcp::connect_starttls(address).await?;
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    plain.send(&request).await?;
    match plain.receive().await?.as_slice() {
        b"S" => Ok(plain.start_tls(&Tls::new()).await?),
        _ => Err(Error::msg("the server has no TLS")),
    }
}

fn row(body: &DataRowBody) -> Result<Row, Error> {
    let columns = body.ranges().map(|range| {
        let column = range.and_then(|range| body.buffer().get(range));
        Ok(column.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    });
    Ok(columns.collect()?)
}

/// What the server refuses, in its words.
fn refusal(body: &ErrorResponseBody) -> Error {
    let text = body.fields().find_map(|field| {
        let message = field.type_() == b'M';
        Ok(message.then(|| String::from_utf8_lossy(field.value_bytes()).into_owned()))
    });
    let text = text.ok().flatten();
    Error::msg(format!("PostgreSQL: {}", text.unwrap_or_default()))
}

fn unexpected(message: &Message) -> Error {
    match message {
        Message::ErrorResponse(body) => refusal(body),
        _ => Error::msg("the server does not log in as it should"),
    }
}
