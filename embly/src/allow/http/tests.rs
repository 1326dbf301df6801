use proptest::prelude::*;

use super::*;

fn grant(text: &str) -> HttpGrant {
    HttpGrant::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn covers(entry: &str, url: &str) -> bool {
    Target::parse(url).is_ok_and(|target| grant(entry).covers(&target))
}

#[test]
fn what_is_written_differently_and_means_the_same_is_covered() {
    for (entry, url) in [
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1/users?x=1#y",
        ),
        (
            "https://api.example.com/v1/",
            "HTTPS://API.Example.COM:443/v1/",
        ),
        (
            "https://API.example.com:443/v1/",
            "https://api.example.com./v1/",
        ),
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://api.example.com/v1", "https://api.example.com/v1/x"),
        ("https://api.example.com/v1", "https://api.example.com/v1?x"),
        (
            "https://api.example.com",
            "https://api.example.com/any/../thing",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v2/%2e%2E/v1/x",
        ),
        (
            "https://api.example.com/~me/",
            "https://api.example.com/%7eme/x",
        ),
        (
            "https://api.example.com/a%2fb/",
            "https://api.example.com/a%2Fb/x",
        ),
        (
            "https://api.example.com/ü/",
            "https://api.example.com/%c3%BC/x",
        ),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://*.example.com/", "https://a.example.com/"),
        ("https://*.example.com/", "https://a.b.example.com/"),
        (
            "https://*.example.com:8443/x/",
            "https://a.example.com:8443/x/y",
        ),
        ("http://127.0.0.1:8080/", "http://2130706433:8080/"),
        ("http://127.0.0.1:8080/", "http://0x7f.1:8080/"),
        ("http://127.0.0.1:8080/", "http://0177.0.0.1:8080/"),
        ("http://[::1]/", "http://[0:0:0:0:0:0:0:1]:80/"),
        ("http://localhost/", "http:\\\\localhost\\x"),
    ] {
        assert!(covers(entry, url), "{entry} {url}");
    }
}

#[test]
fn what_only_looks_the_same_is_not_covered() {
    for (entry, url) in [
        ("https://api.example.com/", "http://api.example.com/"),
        ("http://api.example.com/", "https://api.example.com:80/"),
        ("https://api.example.com/", "https://api.example.com:444/"),
        (
            "https://api.example.com/",
            "https://api.example.com.evil.net/",
        ),
        (
            "https://api.example.com/",
            "https://evil.net/api.example.com/",
        ),
        (
            "https://api.example.com/",
            "https://evil.net\\@api.example.com/",
        ),
        (
            "https://api.example.com/",
            "https://api.example.com@evil.net/",
        ),
        ("https://api.example.com/", "https://user@api.example.com/"),
        ("https://api.example.com/", "https://xapi.example.com/"),
        (
            "https://api.example.com/v1",
            "https://api.example.com/v1beta",
        ),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/V1/x",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1/../x",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1/%2e%2e/x",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1/..%2fx",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1/%2e%2e%5cx",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1/..%252fx",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1/..;/x",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1/%252525252525252525",
        ),
        (
            "https://api.example.com/v1/",
            "https://api.example.com/v1%2Fx",
        ),
        ("https://*.example.com/", "https://example.com/"),
        ("https://*.example.com/", "https://.example.com/"),
        ("https://*.example.com/", "https://aexample.com/"),
        ("https://*.example.com/", "https://example.com.evil.net/"),
        ("http://*.0.0.1.example/", "http://127.0.0.1/"),
        ("http://127.0.0.1/", "http://[::ffff:127.0.0.1]/"),
        ("http://127.0.0.1/", "http://127.0.0.2/"),
        ("http://[fe80::1]/", "http://[fe80::1%25eth0]/"),
        ("http://localhost/", "http://localhost..localdomain/"),
    ] {
        assert!(!covers(entry, url), "{entry} {url}");
    }
}

#[test]
fn an_entry_that_cannot_be_meant_is_refused_with_what_to_write() {
    for (text, why, wildcard) in [
        (
            "api.example.com/v1",
            "write `https://api.example.com/`",
            false,
        ),
        ("ftp://example.com/", "does not begin with", false),
        (
            "https://user:secret@example.com/",
            "a user name or a password",
            false,
        ),
        ("https://example.com/?x=1", "`https://example.com/`", false),
        ("https://example.com/#x", "a query or a fragment", false),
        ("https://example.com/..%2fx/", "`..`", false),
        ("https:///x", "names no host", false),
        ("https://*/", "`*`", true),
        ("https://a.*.example.com/", "`*`", true),
        ("https://*.*.example.com/", "`*`", true),
        ("https://*.10.0.0.1/", "one by one", true),
    ] {
        let error = HttpGrant::parse(text).expect_err(text);
        let said = format!("{} {}", error.why, error.help);
        assert!(said.contains(why), "{text}: {said}");
        assert_eq!(error.wildcard, wildcard, "{text}");
    }
}

#[test]
fn the_most_exact_entry_counts() {
    let mut all: Vec<_> = [
        "https://*.example.com/",
        "https://*.a.example.com/",
        "https://db.a.example.com/",
        "https://db.a.example.com/x/",
    ]
    .map(grant)
    .into();
    for (url, index) in [
        ("https://x.example.com/", 0),
        ("https://x.a.example.com/", 1),
        ("https://db.a.example.com/", 2),
        ("https://db.a.example.com/x/y", 3),
    ] {
        let target = Target::parse(url).unwrap();
        assert_eq!(granted(&all, &target), Some(&all[index]), "{url}");
    }
    all.push(HttpGrant {
        private: true,
        ..grant("https://*.example.com/")
    });
    let target = Target::parse("https://x.example.com/").unwrap();
    assert_eq!(granted(&all, &target), Some(&all[0]), "of equals the first");
}

#[test]
fn what_is_no_url_is_refused() {
    for url in [
        "",
        "x",
        "/x",
        "//h/",
        "file:///etc/passwd",
        "data:,x",
        "https://",
        "https://a b/",
        " https://h/",
        "https://h/\n",
        "https://h/\r\nx: y",
        "https://h\t/",
        "https://./",
        "https://256.1.1.1/",
        "https://1.2.3.4.5/",
        "https://[::1/",
        "https://[v1.x]/",
        "https://h:99999/",
        "https://a%00b/",
        "https://h%2fx/",
    ] {
        assert!(Target::parse(url).is_err(), "{url:?}");
    }
    let long = format!("https://h/{}", "x".repeat(URL_MAX));
    assert_eq!(Target::parse(&long), Err(BadUrl::Long));
}

#[test]
fn redirects_are_read_from_where_they_come() {
    let here = Target::parse("https://h.example:8443/a/b?x").unwrap();
    for (location, there) in [
        ("/c", "https://h.example:8443/c"),
        ("c?d#e", "https://h.example:8443/a/c?d"),
        ("//other.example/", "https://other.example/"),
        ("http://h.example/", "http://h.example/"),
    ] {
        assert_eq!(here.join(location).unwrap().url().as_str(), there);
    }
    assert!(here.join("ftp://h.example/").is_err());
    assert!(here.join("https://u@h.example/").is_err());
}

/// A path as segments, of which some are special.
fn segments() -> impl Strategy<Value = Vec<String>> {
    let segment = prop_oneof![
        4 => "[abv12~-]{1,3}",
        1 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just("%2e%2E".to_owned()),
        1 => Just("%61".to_owned()),
        1 => Just("".to_owned()),
    ];
    prop::collection::vec(segment, 0..6)
}

/// What a path leads to, step by step: the model.
fn walk(segments: &[String]) -> Vec<String> {
    let mut at: Vec<String> = Vec::new();
    for (n, segment) in segments.iter().enumerate() {
        let last = n + 1 == segments.len();
        match segment.replace("%2e", ".").replace("%2E", ".").as_str() {
            "." if last => at.push(String::new()),
            "." => {}
            ".." => {
                at.pop();
                if last {
                    at.push(String::new());
                }
            }
            plain => at.push(plain.replace("%61", "a")),
        }
    }
    at
}

proptest! {
    /// An entry covers a path exactly when the path, walked step by step, begins with the steps of
    /// the entry.
    #[test]
    fn paths_are_covered_as_a_simple_model_says(
        entry in prop::collection::vec("[abv12~-]{1,3}", 0..3),
        slash in any::<bool>(),
        path in segments(),
    ) {
        let slash = slash || entry.is_empty();
        let text = format!("https://h/{}{}", entry.join("/"), if slash && !entry.is_empty() { "/" } else { "" });
        let url = format!("https://h/{}", path.join("/"));
        let there = walk(&path);
        let begins = there.len() >= entry.len() && there[..entry.len()] == entry[..];
        let expected = begins && (entry.is_empty() || !slash || there.len() > entry.len());
        prop_assert_eq!(covers(&text, &url), expected, "{} {} {:?}", text, url, there);
    }

    /// Whatever is asked for, what is then sent to a server stays below the entry, however the
    /// server decodes it.
    #[test]
    fn nothing_that_is_covered_leads_out_of_the_prefix(tail in "([a-z./;\\\\]|%2[eEfF5]|%5[cC]|%25){0,12}") {
        let url = format!("https://h/v1/{tail}");
        if covers("https://h/v1/", &url) {
            let target = Target::parse(&url).unwrap();
            let mut path = target.url().path().as_bytes().to_vec();
            for _ in 0..8 {
                path = decoded(&path);
                let text = String::from_utf8_lossy(&path).replace('\\', "/");
                let mut depth = 0;
                for segment in text.split('/').skip(1) {
                    match segment.split(';').next().unwrap() {
                        ".." => depth -= 1,
                        "" | "." => {}
                        _ => depth += 1,
                    }
                    prop_assert!(depth >= 0, "{}", text);
                }
                prop_assert!(!text.split('/').any(|it| it == ".."), "{}", text);
            }
        }
    }

    /// Hosts: no name but the one, or below the one, is covered.
    #[test]
    fn hosts_are_covered_as_a_simple_model_says(host in "[a-c]{1,2}(\\.[a-c]{1,2}){0,3}", own in "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}") {
        let url = format!("https://{host}/");
        prop_assert_eq!(covers(&format!("https://{own}/"), &url), host == own);
        let below = host.ends_with(&format!(".{own}"));
        prop_assert_eq!(covers(&format!("https://*.{own}/"), &url), below);
    }

    /// No text makes it panic.
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}", location in ".{0,30}") {
        let _ = HttpGrant::parse(&text);
        if let Ok(target) = Target::parse(&format!("https://{text}")) {
            let _ = target.join(&location);
            prop_assert!(target.url().as_str().starts_with("https://"));
        }
    }
}
