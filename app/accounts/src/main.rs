//! `/api/auth/`: register, sign in, sign out, and who one is.

mod checks;

use checks::Wrong;
use embly::{
    Error,
    http::{Body, Request, ResponseWriter, header, run_catch_error},
    prelude::*,
};
use kit::{Credentials, Verdict, ask, session};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Register {
    username: String,
    email: String,
    password: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SignIn {
    username: String,
    password: String,
}

#[derive(Serialize)]
struct User {
    username: String,
    email: String,
}

#[derive(Serialize)]
struct Message {
    msg: &'static str,
}

const NOT_ALLOWED: Message = Message { msg: "not allowed" };

async fn execute(req: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
    let route = req
        .headers()
        .get("embly-route")
        .map(|route| route.as_bytes());
    match route {
        Some(b"register") => register(req, w).await,
        Some(b"sign-in") => sign_in(req, w).await,
        Some(b"sign-out") => {
            let cookie = session::end(req.headers(), is_secure(&req)).await?;
            signed(w, &cookie, &Message { msg: "signed out" })
        }
        _ => who(req, w).await,
    }
}

async fn register(req: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
    let secure = is_secure(&req);
    let Some(Register {
        username,
        email,
        password,
    }) = read(req)?
    else {
        return say(w, 415, &Message { msg: "send JSON" });
    };
    if let Err(wrong) = checks::new_user(&username, &email, &password) {
        return say(w, 422, &wrong);
    }
    let question = Credentials::Add {
        name: username,
        email,
        password,
    };
    match ask("credentials", &question).await? {
        Verdict::Yes { name, email } => signed_in(w, name, email, secure).await,
        Verdict::Taken(field) => {
            let field = if field == "email" {
                "email"
            } else {
                "username"
            };
            say(
                w,
                422,
                &Wrong {
                    field,
                    msg: "is taken",
                },
            )
        }
        Verdict::No => say(w, 401, &NOT_ALLOWED),
    }
}

async fn sign_in(req: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
    let secure = is_secure(&req);
    let Some(SignIn { username, password }) = read(req)? else {
        return say(w, 415, &Message { msg: "send JSON" });
    };
    if let Err(wrong) = checks::all_there(&[("username", &username), ("password", &password)]) {
        return say(w, 422, &wrong);
    }
    let question = Credentials::Check {
        name: username,
        password,
    };
    match ask("credentials", &question).await? {
        Verdict::Yes { name, email } => signed_in(w, name, email, secure).await,
        _ => say(w, 401, &NOT_ALLOWED),
    }
}

async fn signed_in(
    w: ResponseWriter,
    username: String,
    email: String,
    secure: bool,
) -> Result<(), Error> {
    let cookie = session::begin(&username, secure).await?;
    signed(w, &cookie, &User { username, email })
}

async fn who(req: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
    let Some(name) = session::user(req.headers()).await? else {
        return say(w, 401, &NOT_ALLOWED);
    };
    match ask("credentials", &Credentials::Tell { name }).await? {
        Verdict::Yes { name, email } => say(
            w,
            200,
            &User {
                username: name,
                email,
            },
        ),
        _ => say(w, 401, &NOT_ALLOWED),
    }
}

/// What was sent, if it is JSON. A page of another site can send a form, but no JSON.
fn read<T: DeserializeOwned>(mut req: Request<Body>) -> Result<Option<T>, Error> {
    let kind = req.headers().get(header::CONTENT_TYPE);
    let kind = kind.map_or("", |kind| kind.to_str().unwrap_or_default());
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&req.body_mut().bytes()?).ok())
}

fn is_secure(req: &Request<Body>) -> bool {
    req.headers()
        .get("embly-scheme")
        .is_some_and(|scheme| scheme == "https")
}

fn signed(mut w: ResponseWriter, cookie: &str, what: &impl Serialize) -> Result<(), Error> {
    w.header("Set-Cookie", cookie)?;
    say(w, 200, what)
}

fn say(mut w: ResponseWriter, status: u16, what: &impl Serialize) -> Result<(), Error> {
    w.status(status)?;
    w.header("Content-Type", "application/json")?;
    w.header("Cache-Control", "no-store")?;
    Ok(w.write_all(&serde_json::to_vec(what)?)?)
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{Conn, mock};

    /// A stand-in that knows Ann, and takes everybody.
    fn credentials() {
        mock::function("credentials", |conn: Conn| {
            kit::answer(conn, async |question| {
                let yes = |name, email| Ok(Verdict::Yes { name, email });
                match question {
                    Credentials::Add { name, .. } if name == "ann" => {
                        Ok(Verdict::Taken("username".into()))
                    }
                    Credentials::Add { name, email, .. } => yes(name, email),
                    Credentials::Check { name, password } if password != "right one" => {
                        assert!(!name.is_empty());
                        Ok(Verdict::No)
                    }
                    Credentials::Check { name, .. } | Credentials::Tell { name } => {
                        yes(name, "ann@example.test".into())
                    }
                }
            })
        });
    }

    fn post(route: &str, body: &str) -> mock::Response {
        credentials();
        let request = Request::post(format!("/api/auth/{route}"))
            .header("embly-route", route)
            .header("content-type", "application/json");
        mock::http(execute, request.body(body.to_owned()).unwrap())
    }

    fn user(cookie: &str) -> mock::Response {
        let request = Request::get("/api/auth/user")
            .header("embly-route", "user")
            .header("cookie", cookie);
        mock::http(execute, request.body("").unwrap())
    }

    #[test]
    fn who_registers_is_signed_in_until_they_sign_out() {
        let body = r#"{"username":"bea","email":"bea@example.test","password":"12345678"}"#;
        let answer = post("register", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            answer.text(),
            r#"{"username":"bea","email":"bea@example.test"}"#
        );
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        let cookie = cookie.split(';').next().unwrap();
        assert_eq!(user(cookie).status, 200);
        let out = Request::post("/api/auth/sign-out")
            .header("embly-route", "sign-out")
            .header("cookie", cookie);
        let answer = mock::http(execute, out.body("").unwrap());
        assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
        let answer = user(cookie);
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (401, r#"{"msg":"not allowed"}"#)
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let taken = r#"{"username":"ann","email":"ann@example.test","password":"12345678"}"#;
        for (route, body, told) in [
            (
                "register",
                "{}",
                r#"{"field":"username","msg":"is missing"}"#,
            ),
            (
                "register",
                taken,
                r#"{"field":"username","msg":"is taken"}"#,
            ),
            (
                "sign-in",
                r#"{"username":"ann"}"#,
                r#"{"field":"password","msg":"is missing"}"#,
            ),
        ] {
            let answer = post(route, body);
            assert_eq!((answer.status.as_u16(), answer.text()), (422, told));
        }
        assert_eq!(post("register", "no JSON").status, 415);
    }

    #[test]
    fn a_wrong_password_is_not_allowed() {
        let answer = post("sign-in", r#"{"username":"ann","password":"wrong one"}"#);
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (401, r#"{"msg":"not allowed"}"#)
        );
        let answer = post("sign-in", r#"{"username":"ann","password":"right one"}"#);
        assert_eq!(answer.status, 200);
    }
}
