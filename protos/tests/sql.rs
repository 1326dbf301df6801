//! The bytes of every message of the service `embly/sql`: functions in other languages write and read
//! them too.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;
use prost::Message;
use protos::services::sql::request::Request as Asked;
use protos::services::sql::response::Response as Said;
use protos::services::sql::value::Kind;
use protos::services::sql::{
    Access, Begin, Cancel, Cause, Columns, Commit, Done, Error, Execute, Named, Open, Request,
    Response, Rollback, Row, Rows, Value,
};

fn hex(message: &impl Message) -> String {
    let bytes = message.encode_to_vec();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

#[track_caller]
fn asks(asked: Asked, bytes: &str) {
    let request = Request {
        request: Some(asked),
    };
    assert_eq!(hex(&request), bytes);
    assert_eq!(
        Request::decode(&request.encode_to_vec()[..]).unwrap(),
        request
    );
}

#[track_caller]
fn says(said: Said, bytes: &str) {
    let response = Response {
        response: Some(said),
    };
    assert_eq!(hex(&response), bytes);
    assert_eq!(
        Response::decode(&response.encode_to_vec()[..]).unwrap(),
        response
    );
}

#[test]
fn requests_have_these_bytes() {
    let open = |access: Access| {
        Asked::Open(Open {
            store: "main".to_owned(),
            access: access.into(),
        })
    };
    asks(open(Access::Read), "0a060a046d61696e");
    asks(open(Access::ReadWrite), "0a080a046d61696e1001");
    let execute = Execute {
        sql: "s".to_owned(),
        parameters: vec![
            Value::default(),
            value(Kind::Integer(-1)),
            value(Kind::Real(1.0)),
            value(Kind::Text("a".to_owned())),
            value(Kind::Blob(vec![7].into())),
        ],
        named: vec![Named {
            name: ":n".to_owned(),
            value: Some(value(Kind::Integer(1))),
        }],
    };
    asks(
        Asked::Execute(execute),
        "12280a01731200120208011209\
         11000000000000f03f12031a01611203220107\
         1a080a023a6e12020802",
    );
    asks(Asked::Begin(Begin { write: false }), "1a00");
    asks(Asked::Begin(Begin { write: true }), "1a020801");
    asks(Asked::Commit(Commit {}), "2200");
    asks(Asked::Rollback(Rollback {}), "2a00");
    asks(Asked::Cancel(Cancel {}), "3200");
}

#[test]
fn responses_have_these_bytes() {
    let columns = Columns {
        names: vec!["a".to_owned(), "b".to_owned()],
    };
    says(Said::Columns(columns), "0a060a01610a0162");
    let row = Row {
        values: vec![Value::default(), value(Kind::Integer(0))],
    };
    says(Said::Rows(Rows { rows: vec![row] }), "12080a060a000a020800");
    let done = Done {
        changes: 1,
        last_insert_id: 2,
        in_transaction: true,
    };
    says(Said::Done(done), "1a06080110041801");
    let error = Error {
        cause: Cause::Busy.into(),
        code: 5,
        message: "m".to_owned(),
        offset: Some(0),
        in_transaction: true,
    };
    says(Said::Error(error), "220b080410051a016d20002801");
}

#[test]
fn the_numbers_of_causes_stay_as_they_are() {
    let causes = [
        Cause::Statement,
        Cause::Forbidden,
        Cause::Time,
        Cause::Memory,
        Cause::Busy,
        Cause::Sequence,
        Cause::Lost,
        Cause::Rows,
    ];
    for (number, cause) in (0..).zip(causes) {
        assert_eq!(i32::from(cause), number);
    }
    assert!(
        Cause::try_from(8).is_err(),
        "a new cause belongs in this list"
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        any::<i64>().prop_map(Kind::Integer),
        any::<f64>().prop_map(Kind::Real),
        any::<String>().prop_map(Kind::Text),
        any::<Vec<u8>>().prop_map(|bytes| Kind::Blob(bytes.into())),
    ];
    proptest::option::of(kind).prop_map(|kind| Value { kind })
}

proptest! {
    #[test]
    fn a_statement_reads_back(
        sql: String,
        parameters in proptest::collection::vec(any_value(), 0..8),
        named in proptest::collection::vec((any::<String>(), any_value()), 0..4),
    ) {
        let named = named.into_iter().map(|(name, value)| Named { name, value: Some(value) });
        let request = Request {
            request: Some(Asked::Execute(Execute { sql, parameters, named: named.collect() })),
        };
        prop_assert_eq!(Request::decode(&request.encode_to_vec()[..]).unwrap(), request);
    }

    #[test]
    fn rows_read_back(rows in proptest::collection::vec(proptest::collection::vec(any_value(), 0..4), 0..8)) {
        let rows = rows.into_iter().map(|values| Row { values }).collect();
        let response = Response { response: Some(Said::Rows(Rows { rows })) };
        prop_assert_eq!(Response::decode(&response.encode_to_vec()[..]).unwrap(), response);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        if let Ok(request) = Request::decode(&bytes[..]) {
            let again = Request::decode(&request.encode_to_vec()[..]).unwrap();
            prop_assert_eq!(request.encode_to_vec(), again.encode_to_vec());
        }
        let _ = Response::decode(&bytes[..]);
    }
}
