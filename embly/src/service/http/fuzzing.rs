//! What a function asks for, and what a server answers.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderValue};
use prost::Message as _;
use protos::services::http::Request;

use super::decode::{Broken, Room};
use super::request::{Asked, CONTENT_MAX, Content, HEADERS_MAX};
use crate::allow::http::{HttpGrant, Target};
use crate::limits::HttpLimits;

/// A message of the caller: what is accepted is within every limit, and has no line of its own making.
pub fn request(data: &[u8]) {
    let Ok(request) = Request::decode(data) else {
        return;
    };
    let Ok(asked) = Asked::check(request.clone(), &HttpLimits::default()) else {
        return;
    };
    assert_ne!(asked.method, http::Method::CONNECT);
    assert!(asked.headers.len() <= HEADERS_MAX);
    for (name, value) in &asked.headers {
        assert!(!["host", "connection", "transfer-encoding"].contains(&name.as_str()));
        assert!(!value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)));
    }
    if let Content::Whole(body) = &asked.body {
        assert_eq!(*body, request.content);
        assert!(body.len() <= CONTENT_MAX);
    }
    same(&asked.target);
}

/// A URL, in the next line one that it redirects to, and then grants: what is read means the same when
/// it is written and read again.
pub fn url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut lines = text.lines();
    let target = lines.next().and_then(|line| Target::parse(line).ok());
    let Some(target) = target else { return };
    same(&target);
    if let Some(Ok(next)) = lines.next().map(|line| target.join(line)) {
        same(&next);
    }
    let grants: Vec<_> = lines
        .filter_map(|line| HttpGrant::parse(line).ok())
        .collect();
    let granted = crate::allow::http::granted(&grants, &target);
    assert_eq!(
        granted.is_some(),
        grants.iter().any(|grant| grant.covers(&target))
    );
    // What advice says to add is enough, and no more than that.
    let entry = HttpGrant::parse(&target.entry()).expect("an entry that can be written");
    assert!(entry.covers(&target), "{}", target.entry());
}

fn same(target: &Target) {
    let url = target.url().as_str();
    // What was encoded may have grown beyond what a caller can write.
    if url.len() > crate::allow::http::URL_MAX {
        return;
    }
    let again = Target::parse(url).expect("a URL that was read");
    assert_eq!(again.url(), target.url());
    assert!(again.same_origin(target));
    assert!(["http", "https"].contains(&target.url().scheme()));
    assert!(target.url().username().is_empty() && target.url().password().is_none());
}

/// A compressed body. The first byte: in which coding, and in which pieces, on which nothing depends.
pub fn body(data: &[u8]) {
    let Some((&how, stream)) = data.split_first() else {
        return;
    };
    let coding = ["gzip", "deflate", "br"][usize::from(how % 3)];
    let whole = unpacked(coding, stream, stream.len());
    let pieces = unpacked(coding, stream, usize::from(how / 3) + 1);
    if let (Ok(whole), Ok(pieces)) = (&whole, &pieces) {
        assert_eq!(whole, pieces, "in pieces");
    }
    // Only what is far too much may be so in one of the two alone: it is asked for in between.
    let bomb = |result: &Result<Vec<u8>, Broken>| *result == Err(Broken::Bomb);
    if !bomb(&whole) && !bomb(&pieces) {
        assert_eq!(whole.is_ok(), pieces.is_ok(), "in pieces");
    }
}

fn unpacked(coding: &'static str, stream: &[u8], piece: usize) -> Result<Vec<u8>, Broken> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    let decoder = Room::default().offer().decoder(&mut headers);
    let mut decoder = decoder.expect("it was offered").expect("there is a coding");
    assert!(headers.is_empty());
    let mut out = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(data) = decoder.unpack(&mut input)? {
            assert!(!data.is_empty());
            out.extend_from_slice(&data);
        }
        assert!(input.is_empty(), "all of it was taken");
    }
    out.extend_from_slice(&decoder.finish()?);
    Ok(out)
}
