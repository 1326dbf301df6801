//! Where a redirect leads, and with what (RFC 9110, section 15.4).

use http::header::{self, HeaderName};
use http::{HeaderMap, Method, StatusCode};
use protos::services::http::Kind;

use super::failure::Failure;
use super::request::{Asked, Content, shown};

/// What says something of a body, and goes with it.
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
];

/// What is meant for one origin only.
const OF_THE_ORIGIN: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];

/// Whether a response with this status asks for another request.
fn redirects(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Whether a response is a redirect that says where to.
pub fn is_redirect(status: StatusCode, headers: &HeaderMap) -> bool {
    redirects(status) && headers.contains_key(header::LOCATION)
}

/// Makes `asked` the request that a redirect asks for. Whether it may be sent is for others to say.
///
/// # Errors
/// When there can be none.
pub fn follow(asked: &mut Asked, status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let here = asked.target.url().clone();
    let wrong = |text: String| Failure::new(Kind::Redirect, text);
    let location = headers.get(header::LOCATION).map(|it| it.as_bytes());
    let location = String::from_utf8_lossy(location.unwrap_or_default());
    let target = asked.target.join(&location).map_err(|error| {
        wrong(format!(
            "`{here}` redirects to `{}`, which {error}",
            shown(&location)
        ))
    })?;
    let becomes_get = match status {
        StatusCode::SEE_OTHER => asked.method != Method::GET && asked.method != Method::HEAD,
        // As browsers do it, and servers have come to expect.
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => asked.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        asked.method = Method::GET;
        asked.body = Content::Whole(bytes::Bytes::new());
        for name in OF_THE_BODY {
            asked.headers.remove(name);
        }
    }
    if let Content::Follows(_) = asked.body {
        return Err(wrong(format!(
            "`{here}` redirects to `{target}` with {status}, for which the body would have to be \
             sent again, and it was streamed: ask for that URL, send the body with the request, or \
             follow no redirects",
            target = target.url(),
            status = status.as_u16(),
        )));
    }
    if !target.same_origin(&asked.target) {
        for name in OF_THE_ORIGIN {
            asked.headers.remove(name);
        }
    }
    asked.target = target;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HttpLimits;
    use bytes::Bytes;
    use http::HeaderValue;
    use protos::services::http::{Header, Request};

    fn asked(method: &str, follows: bool) -> Asked {
        let header = |name: &str| Header {
            name: name.to_owned(),
            value: Bytes::from_static(b"v"),
        };
        let request = Request {
            method: method.to_owned(),
            url: "https://a.example/x/y?z".to_owned(),
            headers: ["authorization", "cookie", "content-type", "x-other"]
                .map(header)
                .into(),
            content: if follows {
                Bytes::new()
            } else {
                Bytes::from_static(b"body")
            },
            body_follows: follows,
            ..Request::default()
        };
        Asked::check(request, &HttpLimits::default()).unwrap()
    }

    fn to(location: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::LOCATION,
            HeaderValue::from_bytes(location.as_bytes()).unwrap(),
        );
        headers
    }

    fn followed(mut asked: Asked, status: u16, location: &str) -> Result<Asked, Failure> {
        let status = StatusCode::from_u16(status).unwrap();
        assert!(is_redirect(status, &to(location)));
        follow(&mut asked, status, &to(location)).map(|()| asked)
    }

    #[test]
    fn methods_and_bodies_are_kept_or_dropped_by_status() {
        for (status, method, then, body) in [
            (301, "POST", "GET", false),
            (302, "POST", "GET", false),
            (303, "POST", "GET", false),
            (303, "PUT", "GET", false),
            (303, "HEAD", "HEAD", true),
            (301, "PUT", "PUT", true),
            (302, "DELETE", "DELETE", true),
            (307, "POST", "POST", true),
            (308, "POST", "POST", true),
            (308, "GET", "GET", true),
        ] {
            let next = followed(asked(method, false), status, "/n").unwrap();
            assert_eq!(next.method, then, "{status} {method}");
            assert_eq!(
                next.body != Content::Whole(Bytes::new()),
                body,
                "{status} {method}"
            );
            assert_eq!(
                next.headers.contains_key("content-type"),
                body,
                "{status} {method}"
            );
        }
        for status in [200, 201, 300, 304, 305, 306] {
            assert!(!is_redirect(
                StatusCode::from_u16(status).unwrap(),
                &to("/")
            ));
        }
        assert!(!is_redirect(StatusCode::FOUND, &HeaderMap::new()));
    }

    #[test]
    fn a_body_that_was_streamed_is_not_sent_again() {
        for status in [307, 308] {
            let failure = followed(asked("POST", true), status, "/n").unwrap_err();
            assert_eq!(failure.kind, Kind::Redirect);
            assert!(
                failure.message.contains("it was streamed"),
                "{}",
                failure.message
            );
        }
        assert!(followed(asked("PUT", true), 302, "/n").is_err());
        let next = followed(asked("POST", true), 303, "/n").unwrap();
        assert_eq!(next.method, "GET");
    }

    #[test]
    fn what_is_meant_for_one_origin_goes_to_no_other() {
        for (location, kept) in [
            ("/other", true),
            ("https://A.example:443/", true),
            ("https://b.example/", false),
            ("http://a.example/", false),
            ("https://a.example:444/", false),
            ("//a.example.b.example/", false),
        ] {
            let next = followed(asked("GET", false), 302, location).unwrap();
            for name in ["authorization", "cookie"] {
                assert_eq!(next.headers.contains_key(name), kept, "{location}");
            }
            assert!(next.headers.contains_key("x-other"));
        }
    }

    #[test]
    fn a_location_that_is_none_is_said() {
        for location in [
            "ftp://x/",
            "https://u:p@x/",
            "https://",
            "javascript:x",
            "https://[::1",
        ] {
            let failure = followed(asked("GET", false), 302, location).unwrap_err();
            assert_eq!(failure.kind, Kind::Redirect, "{location}");
            assert!(failure.message.contains(location), "{}", failure.message);
        }
    }
}
