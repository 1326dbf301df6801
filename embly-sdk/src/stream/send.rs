//! Writing all of something, async.

use super::conn::Conn;
use crate::error::Error;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The future of [`Conn::send`].
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Sending<'a> {
    conn: Conn,
    rest: &'a [u8],
}

impl<'a> Sending<'a> {
    pub(super) fn new(conn: Conn, rest: &'a [u8]) -> Self {
        Self { conn, rest }
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while !self.rest.is_empty() {
            let n = ready!(self.conn.poll_write_some(cx, self.rest))?;
            self.rest = &self.rest[n..];
        }
        Poll::Ready(Ok(()))
    }
}
