//! Secrets in tests of functions.

use embly_sdk::{Conn, Error, mock, prelude::*, secret};

fn pays(mut conn: Conn) -> Result<(), Error> {
    let key = secret("STRIPE_KEY")?;
    assert_eq!(key.name(), "STRIPE_KEY");
    Ok(conn.write_all(key.expose().as_bytes())?)
}

#[test]
fn a_function_gets_what_the_test_has_set_and_nothing_of_the_environment() {
    assert!(std::env::var("PATH").is_ok());
    assert!(secret("PATH").is_err());
    let error = mock::spawn(pays).string().expect_err("is not set");
    assert!(error.exit().is_some());
    let told = secret("STRIPE_KEY").expect_err("is not set").to_string();
    assert!(told.contains("add `secrets: [STRIPE_KEY]`"), "{told}");
    mock::secret("STRIPE_KEY", "sk_test_42");
    assert_eq!(mock::spawn(pays).string().expect("is set"), "sk_test_42");
    mock::reset();
    assert!(secret("STRIPE_KEY").is_err());
}

#[test]
fn a_secret_does_not_print_itself() {
    mock::secret("KEY", "value");
    let key = secret("KEY").expect("is set");
    assert_eq!(
        format!("{key} {key:?} {key:#?}"),
        "[secret KEY] [secret KEY] [secret KEY]"
    );
    assert!(key == key.clone());
}
