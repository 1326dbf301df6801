//! TLS: who a server is, and what it then speaks.

use std::io::{Read, Write};

use super::servers::{Authority, Plain, Site, Speaks, answer};
use super::support::Embly;
use super::{Ask, assert_fails, project};

fn site(speaks: &[Speaks], authority: &Authority, names: &[&str], days: i64) -> Site {
    Site::tls(speaks, &authority.sign(names, days), |_| async {
        answer(200, "ok")
    })
}

fn embly(authority: &Authority, allow: &str) -> Embly {
    let project = project(allow, "");
    project.write("ca.pem", authority.pem());
    Embly::run(&project)
}

#[test]
fn a_server_is_who_its_certificate_says_by_the_authority_of_the_entry() {
    let (ours, others) = (Authority::new(), Authority::new());
    let good = site(&[Speaks::One], &ours, &["127.0.0.1"], 1);
    let named = site(&[Speaks::One], &ours, &["localhost"], 1);
    let url = format!("https://{}/", good.at);
    let by_name = format!("https://localhost:{}/", named.at.port());
    let both = embly(
        &ours,
        &format!("{{url: \"{url}\", ca: ./ca.pem}}, {{url: \"{by_name}\", ca: ca.pem}}"),
    );
    for url in [&url, &by_name] {
        let response = Ask::new(&both, "GET", url).send();
        assert_eq!(
            (response.text().as_str(), response.header("x-version")),
            ("ok", Some("HTTP/1.1"))
        );
    }
    // The authority counts for its entry only.
    let without = embly(
        &ours,
        &format!("\"{url}\", {{url: \"{by_name}\", ca: ca.pem}}"),
    );
    assert_fails(Ask::new(&without, "GET", &url), "Tls", "ca: FILE");
    assert_eq!(Ask::new(&without, "GET", &by_name).send().text(), "ok");
    for (site, says) in [
        (
            site(&[Speaks::One], &others, &["127.0.0.1"], 1),
            "signed by nobody",
        ),
        (
            site(&[Speaks::One], &ours, &["127.0.0.2", "example.com"], 1),
            "not good",
        ),
        (site(&[Speaks::One], &ours, &["127.0.0.1"], -1), "not good"),
    ] {
        let url = format!("https://{}/", site.at);
        let embly = embly(&ours, &format!("{{url: \"{url}\", ca: ca.pem}}"));
        assert_fails(Ask::new(&embly, "GET", &url), "Tls", says);
        assert_eq!(site.seen.requests(), 0);
    }
}

#[test]
fn the_version_is_what_both_agree_on() {
    let authority = Authority::new();
    let both = site(&[Speaks::Two, Speaks::One], &authority, &["127.0.0.1"], 1);
    let one = site(&[Speaks::One], &authority, &["127.0.0.1"], 1);
    let (both, one) = (
        format!("https://{}/", both.at),
        format!("https://{}/", one.at),
    );
    let embly = embly(
        &authority,
        &format!("{{url: \"{both}\", ca: ca.pem}}, {{url: \"{one}\", ca: ca.pem}}"),
    );
    let spoken = |url: &str, version: &str| {
        let response = Ask::new(&embly, "GET", url)
            .header("x-version", version)
            .send();
        assert_eq!(response.text(), "ok");
        response.header("x-version").unwrap().to_owned()
    };
    for (url, version, expected) in [
        (&both, "", "HTTP/2.0"),
        (&both, "1", "HTTP/1.1"),
        (&both, "2", "HTTP/2.0"),
        (&one, "", "HTTP/1.1"),
        (&one, "1", "HTTP/1.1"),
    ] {
        assert_eq!(spoken(url, version), expected, "{url} {version}");
    }
    let (kind, text) = Ask::new(&embly, "GET", &one)
        .header("x-version", "2")
        .fails();
    assert_eq!(kind, "Tls", "{text}");
}

#[test]
fn a_plain_server_is_no_tls_server_and_the_other_way_round() {
    let authority = Authority::new();
    let plain = Plain::new(|mut stream, _| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let url = format!("https://{}/", plain.at);
    let embly = self::embly(&authority, &format!("{{url: \"{url}\", ca: ca.pem}}"));
    assert_fails(
        Ask::new(&embly, "GET", &url),
        "Tls",
        "port for plain connections",
    );
    let tls = site(&[Speaks::One], &authority, &["127.0.0.1"], 1);
    let url = format!("http://{}/", tls.at);
    let embly = self::embly(&authority, &format!("\"{url}\""));
    let (kind, text) = Ask::new(&embly, "GET", &url).fails();
    assert_eq!(kind, "Protocol", "{text}");
}

#[test]
fn a_file_of_authorities_that_is_none_stops_the_project() {
    let authority = Authority::new();
    let project = project("{url: \"https://example.com/\", ca: ca.pem}", "");
    project.write("ca.pem", &authority.pem().replace("MII", "zzz"));
    let (code, _, said) = super::support::output(&["run", project.path().to_str().unwrap()]);
    assert_ne!(code, 0);
    assert!(
        said.contains("ca.pem") && said.contains("no certificate authorities"),
        "{said}"
    );
}
