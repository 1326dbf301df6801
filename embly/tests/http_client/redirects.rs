//! Redirects: bounded, each checked anew.

use http_body_util::BodyExt;

use super::servers::{Answer, Site, Speaks, answer};
use super::support::Embly;
use super::{Ask, assert_fails, get, project};

fn redirect(status: u16, to: &str) -> Answer {
    let mut answer = answer(status, "moved");
    answer.headers_mut().insert("location", to.parse().unwrap());
    answer
}

/// `/STATUS?URL` redirects there, `/turn` in a circle, anything else is answered by what was asked.
fn site() -> Site {
    Site::new(Speaks::One, |request| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if head.uri.path() == "/turn" {
            return redirect(302, "/turn?x");
        }
        match head.uri.path()[1..].parse() {
            Ok(status) => redirect(status, head.uri.query().unwrap_or("/end")),
            Err(_) => {
                let names = ["authorization", "cookie", "content-type", "x-kept"];
                let there: Vec<_> = names
                    .into_iter()
                    .filter(|name| head.headers.contains_key(*name))
                    .collect();
                let body = String::from_utf8_lossy(&body).into_owned();
                answer(200, format!("{} {} {}", head.method, there.join(","), body))
            }
        }
    })
}

fn ask(embly: &Embly, method: &str, url: &str) -> Ask {
    Ask::new(embly, method, url)
        .header("x-h-authorization", "secret")
        .header("x-h-cookie", "secret")
        .header("x-h-content-type", "text/plain")
        .header("x-h-x-kept", "x")
}

#[test]
fn redirects_are_followed_with_the_method_and_body_that_their_status_means() {
    let site = site();
    let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), ""));
    let all = "authorization,cookie,content-type,x-kept";
    let bare = "authorization,cookie,x-kept";
    for (method, status, expected) in [
        ("GET", 301, format!("GET {all} ")),
        ("POST", 301, format!("GET {bare} ")),
        ("POST", 302, format!("GET {bare} ")),
        ("PUT", 303, format!("GET {bare} ")),
        ("PUT", 302, format!("PUT {all} body")),
        ("POST", 307, format!("POST {all} body")),
        ("POST", 308, format!("POST {all} body")),
    ] {
        let url = site.url(&format!("/{status}"));
        let body: &[u8] = if method == "GET" { b"" } else { b"body" };
        let response = ask(&embly, method, &url).whole(body).send();
        assert_eq!(
            (response.status, response.text()),
            (200, expected),
            "{method} {status}"
        );
        assert_eq!(response.header("x-final"), Some(&*site.url("/end")));
    }
    // All on one connection: what a redirect has for a body is read.
    assert_eq!(site.seen.used(), 1);
    for status in [300, 304, 305] {
        assert_eq!(get(&embly, &site.url(&format!("/{status}"))).status, status);
    }
}

#[test]
fn a_body_that_was_streamed_is_not_sent_again() {
    let site = site();
    let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), ""));
    for status in [307, 308] {
        let streamed = Ask::new(&embly, "POST", &site.url(&format!("/{status}"))).streamed(b"body");
        assert_fails(streamed, "Redirect", "it was streamed");
    }
    let response = Ask::new(&embly, "POST", &site.url("/303"))
        .streamed(b"body")
        .send();
    assert_eq!(response.text(), "GET  ");
}

#[test]
fn loops_end_at_the_limit_and_callers_can_only_lower_it() {
    let site = site();
    let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), "redirects: 3"));
    let turn = site.url("/turn");
    assert_fails(
        Ask::new(&embly, "GET", &turn),
        "Redirect",
        "after 3 redirects",
    );
    assert_eq!(site.seen.requests(), 4);
    assert_fails(
        Ask::new(&embly, "GET", &turn).header("x-redirects", "1"),
        "Redirect",
        "after 1 redirects",
    );
    assert_fails(
        Ask::new(&embly, "GET", &turn).header("x-redirects", "99"),
        "Redirect",
        "after 3 redirects",
    );
    assert_eq!(site.seen.requests(), 4 + 2 + 4);
    let itself = Ask::new(&embly, "GET", &turn)
        .header("x-redirects", "0")
        .send();
    assert_eq!((itself.status, itself.text().as_str()), (302, "moved"));
    assert_eq!(itself.header("r-location"), Some("/turn?x"));
}

#[test]
fn a_redirect_leads_nowhere_that_the_project_file_does_not_allow() {
    let (from, to) = (site(), site());
    let port = to.at.port();
    let allow = format!("\"{}\"", from.url("/"));
    let embly = Embly::run(&project(&allow, ""));
    let lead = |url: &str| Ask::new(&embly, "GET", &from.url(&format!("/302?{url}")));
    assert_fails(lead(&to.url("/")), "NotAllowed", "be redirected to");
    assert_fails(
        lead(&format!("https://{}/", from.at)),
        "NotAllowed",
        "be redirected to",
    );
    assert_fails(
        lead("http://169.254.169.254/latest/"),
        "NotAllowed",
        "`http://169.254.169.254/latest/`: no redirect leads there",
    );
    assert_fails(
        lead(&format!("http://2130706433:{port}/")),
        "NotAllowed",
        "127.0.0.1",
    );
    assert_fails(
        lead(&format!("http://[::ffff:127.0.0.1]:{port}/")),
        "NotAllowed",
        "be redirected to",
    );
    assert_fails(lead("ftp://127.0.0.1/"), "Redirect", "does not begin with");
    assert_fails(
        lead("file:///etc/passwd"),
        "Redirect",
        "does not begin with",
    );
    assert_fails(
        lead(&format!("http://user@127.0.0.1:{port}/")),
        "Redirect",
        "a user name",
    );
    assert_eq!(to.seen.connections(), 0);
}

#[test]
fn a_redirect_reaches_private_addresses_only_where_the_entry_says_so() {
    let (from, to) = (site(), site());
    for private in [false, true] {
        let allow = format!(
            "\"{}\", {{url: \"{}\", private: {private}}}",
            from.url("/"),
            to.url("/")
        );
        let embly = Embly::run(&project(&allow, ""));
        // The function itself may go there.
        assert_eq!(get(&embly, &to.url("/")).status, 200);
        let led = Ask::new(&embly, "GET", &from.url(&format!("/302?{}", to.url("/"))));
        if private {
            assert_eq!(led.send().status, 200);
        } else {
            assert_fails(
                led,
                "NotAllowed",
                &format!("{{url: \"{}\", private: true}}", to.url("/")),
            );
        }
    }
}

#[test]
fn a_redirect_never_leads_to_the_credentials_of_a_cloud() {
    let from = site();
    let at = "http://169.254.169.254/";
    let allow = format!("\"{}\", {{url: \"{at}\", private: true}}", from.url("/"));
    let embly = Embly::run(&project(&allow, ""));
    let led = Ask::new(&embly, "GET", &from.url(&format!("/302?{at}latest/")));
    assert_fails(led, "NotAllowed", "no redirect leads there");
}

#[test]
fn what_is_meant_for_one_origin_goes_to_no_other() {
    let (from, to) = (site(), site());
    let allow = format!(
        "\"{}\", {{url: \"{}\", private: true}}",
        from.url("/"),
        to.url("/")
    );
    let embly = Embly::run(&project(&allow, ""));
    let url = from.url(&format!("/302?{}", to.url("/")));
    assert_eq!(
        ask(&embly, "GET", &url).send().text(),
        "GET content-type,x-kept "
    );
    // Nor back to where it came from.
    let url = from.url(&format!(
        "/302?{}",
        to.url(&format!("/302?{}", from.url("/")))
    ));
    let back = ask(&embly, "GET", &url);
    assert_fails(back, "NotAllowed", "private: true");
}
