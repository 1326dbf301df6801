//! Knows the passwords: adds users, and checks who somebody is.

use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use embly::{
    Conn, Error, run,
    sql::{self, Failed, params},
};
use kit::{Credentials, Verdict};

const ADD: &str = "INSERT INTO users (name, email, password) VALUES (?, ?, ?)";
const FIND: &str = "SELECT name, email, password FROM users WHERE name = ?";
const NAMES: &str = "SELECT name FROM users WHERE name = ?";

async fn execute(conn: Conn) -> Result<(), Error> {
    kit::answer(conn, decide).await
}

async fn decide(question: Credentials) -> Result<Verdict, Error> {
    match question {
        Credentials::Add {
            name,
            email,
            password,
        } => add(name, email, &password).await,
        Credentials::Check { name, password } => {
            let found = find(&name).await?;
            let right = match &found {
                Some((.., hash)) => verify(hash, &password)?,
                // A name that nobody has takes as long as a wrong password.
                None => hash(&password).map(|_| false)?,
            };
            Ok(verdict(found.filter(|_| right)))
        }
        Credentials::Tell { name } => Ok(verdict(find(&name).await?)),
    }
}

fn verdict(user: Option<(String, String, String)>) -> Verdict {
    match user {
        Some((name, email, _)) => Verdict::Yes { name, email },
        None => Verdict::No,
    }
}

async fn find(name: &str) -> Result<Option<(String, String, String)>, Error> {
    let mut db = sql::open("accounts")?;
    db.query_optional(FIND, params![name]).await
}

async fn add(name: String, email: String, password: &str) -> Result<Verdict, Error> {
    let hash = hash(password)?;
    let mut db = sql::open("accounts")?;
    let added = db.execute(ADD, params![&*name, &*email, hash]).await;
    match added {
        Ok(_) => Ok(Verdict::Yes { name, email }),
        Err(error) if error.downcast_ref().is_some_and(Failed::is_constraint) => {
            let same: Option<(String,)> = db.query_optional(NAMES, params![name]).await?;
            let field = if same.is_some() { "username" } else { "email" };
            Ok(Verdict::Taken(field.to_owned()))
        }
        Err(error) => Err(error),
    }
}

fn hash(password: &str) -> Result<String, Error> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(failed)?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    Ok(hash.map_err(failed)?.to_string())
}

fn verify(hash: &str, password: &str) -> Result<bool, Error> {
    let hash = PasswordHash::new(hash).map_err(failed)?;
    let right = Argon2::default().verify_password(password.as_bytes(), &hash);
    Ok(right.is_ok())
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::msg(error.to_string())
}

fn main() -> Result<(), Error> {
    run(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{
        mock::{self, Answer, Sql},
        sql::Cause,
    };

    fn ask(question: Credentials) -> Verdict {
        embly::block_on(async move {
            mock::function("credentials", execute);
            kit::ask("credentials", &question).await.unwrap()
        })
    }

    fn check(name: &str, password: &str) -> Verdict {
        let (name, password) = (name.to_owned(), password.to_owned());
        ask(Credentials::Check { name, password })
    }

    #[test]
    fn only_the_right_password_of_a_user_is_right() {
        let sql = Sql::new();
        let hash = hash("correct horse").unwrap();
        sql.answer_with(FIND, move |params| {
            let columns = ["name", "email", "password"];
            let is_ann = format!("{params:?}").contains("ann");
            let row = params!["ann", "ann@example.test", hash.clone()];
            Answer::rows(columns, is_ann.then_some(row))
        });
        let ann = Verdict::Yes {
            name: "ann".into(),
            email: "ann@example.test".into(),
        };
        assert_eq!(check("ann", "correct horse"), ann);
        assert_eq!(check("ann", "wrong horse"), Verdict::No);
        assert_eq!(check("bea", "correct horse"), Verdict::No);
        assert_eq!(ask(Credentials::Tell { name: "ann".into() }), ann);
    }

    #[test]
    fn who_has_a_name_or_an_address_already_is_told_apart() {
        let sql = Sql::new();
        let unique = Answer::failed(Cause::Statement, 2067, "UNIQUE constraint failed");
        sql.answer(ADD, unique);
        sql.answer_with(NAMES, |params| {
            let is_ann = format!("{params:?}").contains("ann");
            Answer::rows(["name"], is_ann.then(|| params!["ann"]))
        });
        for (name, field) in [("ann", "username"), ("bea", "email")] {
            let verdict = ask(Credentials::Add {
                name: name.into(),
                email: "ann@example.test".into(),
                password: "correct horse".into(),
            });
            assert_eq!(verdict, Verdict::Taken(field.into()));
        }
    }

    #[test]
    fn a_password_is_kept_as_a_hash() {
        let sql = Sql::new();
        sql.answer(ADD, Answer::changed(1));
        let verdict = ask(Credentials::Add {
            name: "ann".into(),
            email: "ann@example.test".into(),
            password: "correct horse".into(),
        });
        assert!(matches!(verdict, Verdict::Yes { .. }));
        let asked = format!("{:?}", sql.asked());
        assert!(asked.contains("$argon2id$") && !asked.contains("correct horse"));
    }
}
