//! What a function asks for.

use bytes::Bytes;
use prost::Message as _;
use protos::services::sql::Request;
use protos::services::sql::request::Request as One;

use super::request::{self, Asked};

/// What the master takes a request for is what the process that runs it takes it for.
pub fn asked(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    let (Ok(asked), Ok(read)) = (request::asked(&message), Request::decode(message)) else {
        return;
    };
    let same = match (read.request, asked) {
        (Some(One::Open(one)), Asked::Open(other)) => one == other,
        (Some(One::Begin(one)), Asked::Begin { write }) => one.write == write,
        (Some(One::Execute(_)), Asked::Execute)
        | (Some(One::Commit(_)), Asked::Commit)
        | (Some(One::Rollback(_)), Asked::Rollback)
        | (Some(One::Cancel(_)), Asked::Cancel) => true,
        _ => false,
    };
    assert!(same, "it means two things");
}
