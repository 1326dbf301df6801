//! A small API: `/users` and `/users/{name}`.

use embly::{
    Error,
    http::{Body, Request, ResponseWriter, run_catch_error},
    prelude::*,
};

const USERS: [(&str, u32); 3] = [("ann", 1), ("bea", 2), ("cid", 3)];

fn execute(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    w.header("Content-Type", "application/json")?;
    // The gateway has taken the path apart.
    let Some(asked) = req.headers().get("embly-param-name") else {
        let names = USERS.map(|(name, _)| format!("{name:?}"));
        return Ok(writeln!(w, "[{}]", names.join(","))?);
    };
    let found = USERS.iter().find(|(name, _)| asked == name);
    match found {
        Some((name, number)) => writeln!(w, r#"{{"name":"{name}","number":{number}}}"#)?,
        None => {
            w.status(404)?;
            writeln!(w, r#"{{"error":"no such user"}}"#)?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::mock;

    fn get(name: Option<&str>) -> mock::Response {
        let mut request = Request::get("/");
        if let Some(name) = name {
            request = request.header("embly-param-name", name);
        }
        mock::http(execute, request.body("").unwrap())
    }

    #[test]
    fn users_are_listed_and_shown() {
        assert_eq!(get(None).text(), "[\"ann\",\"bea\",\"cid\"]\n");
        assert_eq!(get(Some("bea")).text(), "{\"name\":\"bea\",\"number\":2}\n");
        assert_eq!(get(Some("dora")).status, 404);
    }
}
