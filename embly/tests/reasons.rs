//! The SDK has a table of reasons of its own, since functions do not carry the protocol.

#[test]
fn the_table_of_reasons_is_the_same_in_the_sdk() {
    let sdk = embly_sdk::Reason::ALL
        .iter()
        .map(|reason| (reason.number(), reason.name()));
    let protos = protos::Reason::ALL
        .iter()
        .map(|reason| (reason.number(), reason.name()));
    assert_eq!(sdk.collect::<Vec<_>>(), protos.collect::<Vec<_>>());
}
