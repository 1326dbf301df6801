//! What a caller asks for, as far as the master has to know it. Statements and their parameters are
//! not read here but in the process that runs them: what is short on the wire may be long in memory,
//! and costs the master time.

use bytes::Bytes;
use prost::{DecodeError, Message, decode_length_delimiter};
use protos::services::sql::{Begin, Open};

/// The kinds of requests.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Open(Open),
    Execute,
    Begin { write: bool },
    Commit,
    Rollback,
    Cancel,
}

/// Of the low bits of a key: a length follows, and so many bytes.
const LENGTH_DELIMITED: usize = 2;

/// What a `Request` asks for. It is one request and nothing else, so that the process cannot take it
/// for another.
///
/// # Errors
/// In words.
pub fn asked(message: &Bytes) -> Result<Asked, String> {
    let unreadable = |error: DecodeError| format!("a message cannot be read: {error}");
    let unknown = || "a request of a kind that is not known".to_owned();
    let mut rest = message.clone();
    if rest.is_empty() {
        return Err(unknown());
    }
    let key = decode_length_delimiter(&mut rest).map_err(unreadable)?;
    if key & 7 != LENGTH_DELIMITED {
        return Err(unknown());
    }
    let length = decode_length_delimiter(&mut rest).map_err(unreadable)?;
    if length != rest.len() {
        return Err("a message is not one request, whole and alone".to_owned());
    }
    Ok(match key >> 3 {
        1 => Asked::Open(Open::decode(rest).map_err(unreadable)?),
        2 => Asked::Execute,
        3 => Asked::Begin {
            write: Begin::decode(rest).map_err(unreadable)?.write,
        },
        4 => Asked::Commit,
        5 => Asked::Rollback,
        6 => Asked::Cancel,
        _ => return Err(unknown()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protos::services::sql::request::Request as One;
    use protos::services::sql::{Cancel, Commit, Execute, Request, Rollback};

    use super::*;

    fn kind(one: &One) -> Asked {
        match one {
            One::Open(open) => Asked::Open(open.clone()),
            One::Execute(_) => Asked::Execute,
            One::Begin(begin) => Asked::Begin { write: begin.write },
            One::Commit(_) => Asked::Commit,
            One::Rollback(_) => Asked::Rollback,
            One::Cancel(_) => Asked::Cancel,
        }
    }

    #[test]
    fn each_request_is_what_it_is() {
        let sql = "SELECT 1".to_owned();
        let store = "main".to_owned();
        for one in [
            One::Open(Open { store, access: 1 }),
            One::Execute(Execute {
                sql,
                ..Execute::default()
            }),
            One::Begin(Begin { write: true }),
            One::Begin(Begin { write: false }),
            One::Commit(Commit {}),
            One::Rollback(Rollback {}),
            One::Cancel(Cancel {}),
        ] {
            let expected = kind(&one);
            let request = Some(one);
            let message = Bytes::from(Request { request }.encode_to_vec());
            assert_eq!(asked(&message), Ok(expected));
        }
        assert!(asked(&Bytes::new()).is_err());
        // A number instead of a message, and a request that nobody knows.
        assert!(asked(&Bytes::from_static(&[0x10, 0x00])).is_err());
        assert!(asked(&Bytes::from_static(&[0x3a, 0x00])).is_err());
    }

    proptest! {
        #[test]
        fn what_the_process_would_read_otherwise_is_refused(
            kinds in prop::collection::vec(1_u8..8, 1..3),
            inner in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut message = Vec::new();
            for kind in kinds {
                message.extend([kind << 3 | 2, u8::try_from(inner.len()).unwrap()]);
                message.extend(&inner);
            }
            let message = Bytes::from(message);
            if let Ok(asked) = asked(&message)
                && let Ok(read) = Request::decode(message)
            {
                prop_assert_eq!(read.request.map(|one| kind(&one)), Some(asked));
            }
        }
    }
}
