//! Static files.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;

use support::client::{Response, request};
use support::{Embly, Project};

/// A gateway `web` that serves the folder `public` below `/s/`, with these keys beside.
fn serve(keys: &str) -> (Embly, Project) {
    let gateway = format!(
        "    port: 0\n    routes:\n      - {{path: '/s/{{file...}}', files: {{root: ./public{keys}}}}}\n      \
         - {{path: '/s/fn', function: hello}}"
    );
    let project = Project::new().guest("hello").gateway_with("web", &gateway);
    project.write("public/index.html", "<p>index</p>");
    project.write("public/404.html", "<p>missing</p>");
    project.write("public/a b.txt", "0123456789");
    project.write("public/folder/index.html", "folder");
    project.write("public/empty/x", "x");
    project.write("public/app.js", "plain");
    project.write("public/app.js.br", "brotli");
    project.write("public/app.js.gz", "gzip");
    project.write("public/.env", "SECRET=1");
    project.write("public/.git/config", "secret");
    project.write("outside", "secret");
    let public = project.folder().join("public");
    symlink("../outside", public.join("link")).unwrap();
    (Embly::run(&project), project)
}

fn ask(at: SocketAddr, method: &str, path: &str, headers: &str) -> Response {
    request(
        at,
        format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"),
    )
}

#[test]
fn a_file_has_a_type_a_length_a_version_and_is_asked_for_again() {
    let (embly, _project) = serve("");
    let at = embly.at("web");
    let page = ask(at, "GET", "/s/", "");
    assert_eq!((page.status, page.text().as_str()), (200, "<p>index</p>"));
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("content-length"), Some("12"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(page.header("etag").is_some() && page.header("last-modified").is_some());
    assert!(page.header("x-request-id").is_some());
    let text = ask(at, "GET", "/s/a%20b.txt?v=1", "");
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(text.text(), "0123456789");
    let head = ask(at, "HEAD", "/s/a%20b.txt", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("10"));
    // A literal route beats the files.
    assert_eq!(ask(at, "GET", "/s/fn", "").text(), "hello");
    let access = embly.event("access", |event| event["path"] == "/s/a%20b.txt?v=1");
    assert_eq!(
        (&access["status"], &access["bytes"]),
        (&200.into(), &10.into())
    );
    assert_eq!(
        (&access["function"], &access["reason"]),
        (&"-".into(), &serde_json::Value::Null)
    );
}

#[test]
fn who_has_a_version_already_is_told_that_it_is_the_same() {
    let (embly, project) = serve(", cache: 1h");
    let at = embly.at("web");
    let page = ask(at, "GET", "/s/", "");
    assert_eq!(page.header("cache-control"), Some("public, max-age=3600"));
    let (etag, modified) = (
        page.header("etag").unwrap(),
        page.header("last-modified").unwrap(),
    );
    for (header, status) in [
        (format!("if-none-match: {etag}"), 304),
        (format!("if-none-match: W/{etag}"), 304),
        ("if-none-match: \"other\"".to_owned(), 200),
        (format!("if-modified-since: {modified}"), 304),
        (format!("if-match: {etag}"), 200),
        ("if-match: \"other\"".to_owned(), 412),
    ] {
        let answer = ask(at, "GET", "/s/", &format!("{header}\r\n"));
        assert_eq!(answer.status, status, "{header}");
        assert_eq!(answer.body.is_empty(), status != 200, "{header}");
    }
    fs::write(project.folder().join("public/index.html"), "something else").unwrap();
    let changed = ask(at, "GET", "/s/", &format!("if-none-match: {etag}\r\n"));
    assert_eq!(
        (changed.status, changed.text().as_str()),
        (200, "something else")
    );
}

#[test]
fn a_range_is_a_part_of_the_version_that_the_client_has() {
    let (embly, _project) = serve("");
    let at = embly.at("web");
    let etag = ask(at, "GET", "/s/a%20b.txt", "")
        .header("etag")
        .unwrap()
        .to_owned();
    for (headers, status, text) in [
        ("range: bytes=2-4\r\n".to_owned(), 206, "234"),
        ("range: bytes=7-\r\n".to_owned(), 206, "789"),
        ("range: bytes=-2\r\n".to_owned(), 206, "89"),
        ("range: bytes=20-\r\n".to_owned(), 416, ""),
        ("range: bytes=0-1,3-4\r\n".to_owned(), 200, "0123456789"),
        ("range: lines=1-2\r\n".to_owned(), 416, ""),
        (
            format!("range: bytes=2-4\r\nif-range: {etag}\r\n"),
            206,
            "234",
        ),
        (
            "range: bytes=2-4\r\nif-range: \"old\"\r\n".to_owned(),
            200,
            "0123456789",
        ),
    ] {
        let answer = ask(at, "GET", "/s/a%20b.txt", &headers);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, text),
            "{headers}"
        );
    }
    let part = ask(at, "GET", "/s/a%20b.txt", "range: bytes=2-4\r\n");
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
}

#[test]
fn a_compressed_sibling_is_sent_to_who_takes_it() {
    let (embly, _project) = serve("");
    let at = embly.at("web");
    for (accepts, encoding, text) in [
        ("", None, "plain"),
        ("accept-encoding: gzip\r\n", Some("gzip"), "gzip"),
        ("accept-encoding: gzip, br\r\n", Some("br"), "brotli"),
        ("accept-encoding: br;q=0, gzip\r\n", Some("gzip"), "gzip"),
        ("accept-encoding: zstd\r\n", None, "plain"),
    ] {
        let answer = ask(at, "GET", "/s/app.js", accepts);
        assert_eq!(answer.header("content-encoding"), encoding, "{accepts}");
        assert_eq!(answer.text(), text, "{accepts}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/javascript; charset=utf-8"),
            "{accepts}"
        );
        assert!(answer.header("vary").is_some(), "{accepts}");
    }
}

#[test]
fn nothing_outside_of_the_folder_nothing_hidden_and_no_listing_is_served() {
    let (embly, _project) = serve("");
    let at = embly.at("web");
    for path in [
        "/s/.env",
        "/s/.git/config",
        "/s/%2eenv",
        "/s/link",
        "/s/empty/",
        "/s/none",
        "/s/folder/none",
        "/s/a%00b",
        "/s/..%2foutside",
        "/s/%2e%2e%2foutside",
        "/s/..%5coutside",
        "/s//etc/passwd",
        "/s/%2fetc/passwd",
        "/s/../outside",
        "/s/folder/../../outside",
        "/s/app.js/",
    ] {
        let answer = ask(at, "GET", path, "");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert!(!answer.text().to_lowercase().contains("secret"), "{path}");
    }
    let wrong = ask(at, "POST", "/s/app.js", "content-length: 0\r\n");
    assert_eq!(
        (wrong.status, wrong.header("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
}

#[test]
fn a_folder_without_its_slash_is_redirected_with_its_query() {
    let (embly, _project) = serve("");
    let at = embly.at("web");
    let answer = ask(at, "GET", "/s/folder?a=b", "");
    assert_eq!(
        (answer.status, answer.header("location")),
        (307, Some("/s/folder/?a=b"))
    );
    assert_eq!(ask(at, "GET", "/s/folder/", "").text(), "folder");
}

#[test]
fn what_is_not_there_is_a_page_of_the_project_with_404_or_its_application_with_200() {
    let (embly, _project) = serve(", not_found: 404.html");
    let answer = ask(embly.at("web"), "GET", "/s/none?x", "range: bytes=0-1\r\n");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (404, "<p>missing</p>")
    );
    let (embly, _project) = serve(", not_found: {file: index.html, status: 200}");
    let answer = ask(embly.at("web"), "GET", "/s/any/view", "");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "<p>index</p>")
    );
}

#[test]
fn a_large_file_arrives_whole_and_a_client_that_leaves_is_noticed() {
    let (embly, project) = serve("");
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|n| (n / 7) as u8).collect();
    fs::write(project.folder().join("public/big"), &bytes).unwrap();
    let answer = ask(embly.at("web"), "GET", "/s/big", "");
    assert!(answer.complete && answer.body == bytes);
    let mut client = support::client::connect(embly.at("web"));
    std::io::Write::write_all(&mut client, b"GET /s/big HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    support::client::reset(client);
    let access = embly.nth_event("access", 1, |event| event["path"] == "/s/big");
    assert_eq!(access["reason"], "client_gone");
}
