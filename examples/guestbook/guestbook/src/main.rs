//! A guestbook: a form, a table, and a list of what is in it.

mod form;

use embly::{
    Error,
    http::{Body, Method, Request, ResponseWriter, run_catch_error},
    prelude::*,
    sql::{self, params},
};
use std::fmt::Write as _;

/// The longest name and the longest message, in characters.
const NAME: usize = 80;
const MESSAGE: usize = 2000;

/// So many entries are shown, the newest first.
const LIST: &str = "SELECT name, message, written FROM entries ORDER BY id DESC LIMIT 50";

const WRITE: &str = "INSERT INTO entries (name, message) VALUES (?, ?)";

const TOP: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Guestbook</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 2rem auto; padding: 0 1rem; }
label, input, textarea, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
label { margin-top: .5rem; }
button { margin-top: 1rem; padding: .5rem; }
article { border-top: 1px solid #ccc; margin-top: 1rem; padding-top: 1rem; }
article p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
time { float: right; color: #666; }
</style>
<h1>Guestbook</h1>
<form method="post">
<label for="name">Name</label><input id="name" name="name" maxlength="80" required>
<label for="message">Message</label><textarea id="message" name="message" maxlength="2000" rows="4" required></textarea>
<button>Sign</button>
</form>
"#;

async fn execute(req: Request<Body>, w: ResponseWriter) -> Result<(), Error> {
    match *req.method() {
        Method::GET | Method::HEAD => list(w).await,
        Method::POST => sign(req, w).await,
        _ => say(w, 405, "There is a form here: GET and POST."),
    }
}

async fn list(mut w: ResponseWriter) -> Result<(), Error> {
    let mut db = sql::open_read("main")?;
    let mut page = String::from(TOP);
    let mut rows = db.query(LIST, ());
    while let Some(row) = rows.next_row().await? {
        let text = |column: &str| Ok::<_, Error>(escape(&row.get::<String>(column)?));
        let (name, message, written) = (text("name")?, text("message")?, text("written")?);
        writeln!(
            page,
            "<article><time>{written}</time><strong>{name}</strong> <p>{message}</p></article>"
        )?;
    }
    w.header("Content-Type", "text/html; charset=utf-8")?;
    w.header(
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    )?;
    w.write_all(page.as_bytes())?;
    Ok(())
}

async fn sign(mut req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
    let form = form::parse(&req.body_mut().bytes()?);
    let field = |name: &str| form.get(name).map_or("", |value| value.trim());
    let (name, message) = (field("name"), field("message"));
    if name.is_empty() || message.is_empty() {
        return say(w, 422, "A name and a message are needed.");
    }
    if name.chars().count() > NAME || message.chars().count() > MESSAGE {
        return say(w, 422, "That is too long.");
    }
    let mut db = sql::open("main")?;
    db.execute(WRITE, params![name, message]).await?;
    // A page that is loaded again is not sent again.
    w.status(303)?;
    w.header("Location", "/")?;
    Ok(())
}

fn say(mut w: ResponseWriter, status: u16, text: &str) -> Result<(), Error> {
    w.status(status)?;
    w.header("Content-Type", "text/plain; charset=utf-8")?;
    w.write_all(text.as_bytes())?;
    Ok(())
}

/// Text as HTML shows it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn main() -> Result<(), Error> {
    run_catch_error(execute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embly::{mock, sql::Value};

    #[test]
    fn entries_are_shown_as_text() {
        let store = mock::Sql::new();
        let rows = [
            params!["Ada", "<script>alert('&')</script>", "2026-01-02 03:04:05"],
            params!["\"Bob\"", "ä", ""],
        ];
        store.answer(
            LIST,
            mock::Answer::rows(["name", "message", "written"], rows),
        );
        let response = mock::http(execute, Request::get("/").body("").unwrap());
        assert_eq!(response.status, 200);
        let page = response.text();
        assert!(page.contains("<strong>Ada</strong>"), "{page}");
        assert!(
            page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;"),
            "{page}"
        );
        assert!(page.contains("&quot;Bob&quot;</strong> <p>ä</p>"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn what_is_written_goes_into_the_table_and_back_to_the_page() {
        let store = mock::Sql::new();
        store.answer(WRITE, mock::Answer::changed(1).last_insert_id(1));
        let form = "name=Ada+L.&message=a%20%C3%A4%0Ab";
        let response = mock::http(execute, Request::post("/").body(form).unwrap());
        assert_eq!(response.status, 303);
        let asked = store.asked();
        assert_eq!(
            asked[0].1.in_order,
            [Value::from("Ada L."), Value::from("a ä\nb")]
        );
    }

    #[test]
    fn nothing_is_written_without_a_name_and_a_message() {
        let store = mock::Sql::new();
        for form in ["", "name=Ada", "name=+&message=x", "message=x"] {
            let response = mock::http(execute, Request::post("/").body(form).unwrap());
            assert_eq!(response.status, 422, "{form}");
        }
        let long = format!("name=Ada&message={}", "x".repeat(MESSAGE + 1));
        let response = mock::http(execute, Request::post("/").body(long).unwrap());
        assert_eq!(response.status, 422);
        assert!(store.asked().is_empty());
    }
}
