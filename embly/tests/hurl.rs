//! Tests in the format of Hurl: what is read, what is sent, and what is said of the answers.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use embly::hurl::{self, Ran};
use serde_json::{Map, Value, json};

/// Answers each request with what it was, as JSON. Returns its URL.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            thread::spawn(move || answer(stream, count));
        }
    });
    url
}

fn answer(mut stream: TcpStream, count: usize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split(' ');
    let (method, path) = (
        words.next().unwrap().to_owned(),
        words.next().unwrap().to_owned(),
    );
    let mut headers = Map::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.into());
    }
    let length = headers.get("content-length").and_then(Value::as_str);
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    let text = match path.as_str() {
        "/text" => "one, two\nthree\n".to_owned(),
        "/empty" => String::new(),
        "/count" => count.to_string(),
        _ => json!({
            "method": method, "path": path, "headers": headers, "body": body,
            "list": [1, 2.5, "x", null, true, {"a": "b"}], "none": [], "big": 12345678901_i64,
        })
        .to_string(),
    };
    let more = match path.as_str() {
        "/login" => {
            "set-cookie: session=abc; Path=/; HttpOnly\r\nset-cookie: other=1; Path=/deep\r\n"
        }
        "/logout" => "set-cookie: session=; Max-Age=0; Path=/\r\n",
        "/gone" => "set-cookie: session=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/\r\n",
        _ => "",
    };
    let status = if path == "/missing" {
        "404 Not Found"
    } else {
        "200 OK"
    };
    let head = format!("HTTP/1.1 {status}\r\nx-one: 1\r\nx-two: a\r\nx-two: b\r\n{more}");
    let length = text.len();
    // The client may have seen enough.
    let _ = write!(
        stream,
        "{head}content-length: {length}\r\nconnection: close\r\n\r\n{text}"
    );
}

fn run_in(folder: &Path, text: &str) -> Ran {
    let script =
        hurl::parse(text).unwrap_or_else(|wrong| panic!("{wrong} {:?}", wrong.place(text)));
    let variables = BTreeMap::from([
        ("web".to_owned(), server().into()),
        ("my-name".to_owned(), "\"you\" & I".into()),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(hurl::run(&script, variables, folder))
}

fn run(text: &str) -> Ran {
    run_in(Path::new("/nonexistent"), text)
}

/// That all of it is as expected, in so many requests.
#[track_caller]
fn passes(requests: usize, text: &str) {
    let ran = run(text);
    let wrong = ran
        .wrong
        .iter()
        .map(|wrong| format!("{:?} {wrong}", wrong.place(text)));
    let wrong: Vec<String> = wrong.collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(ran.requests, requests);
}

/// The lines of what is not as expected, with words of the messages.
#[track_caller]
fn fails(text: &str, expected: &[(usize, &str)]) {
    let ran = run(text);
    let said: Vec<(usize, &str)> = ran
        .wrong
        .iter()
        .map(|wrong| (wrong.place(text).0, wrong.message.as_str()))
        .collect();
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for ((line, message), (expected_line, words)) in said.iter().zip(expected) {
        assert_eq!(line, expected_line, "{message}");
        assert!(message.contains(words), "{message}: {words}");
    }
}

#[test]
fn requests_are_sent_as_they_are_written() {
    passes(
        8,
        r#"# A comment.
POST {{web}}/a/{{my-name}}?x=1 # another
X-A: one two   # comment
X-B: a\#b
[Query]
q: {{my-name}}
[BasicAuth]
user: pass
[Cookies]
c: d
{
  "name": "{{my-name}}",
  "deep": {"list": [{}, []]}, "escaped": "\" }"
}
HTTP/1.1 200
[Asserts]
jsonpath "$.method" == "POST"
jsonpath "$.path" startsWith "/a/%22you%22"
jsonpath "$.path" endsWith "?x=1&q=%22you%22%20%26%20I"
jsonpath "$.headers.x-a" == "one two"
jsonpath "$.headers.x-b" == "a#b"
jsonpath "$.headers.content-type" == "application/json"
jsonpath "$.headers.authorization" == "Basic dXNlcjpwYXNz"
jsonpath "$.headers.cookie" == "c=d"
jsonpath "$.headers['user-agent']" startsWith "embly/"
jsonpath "$.body" jsonpath "$.name" == "\"you\" & I"
jsonpath "$.body" jsonpath "$.deep.list" count == 2
jsonpath "$.body" jsonpath "$.escaped" == "\" }"

PUT {{web}}/
[Form]
a: b c
d: {{my-name}}
HTTP *
[Asserts]
jsonpath "$.body" == "a=b%20c&d=%22you%22%20%26%20I"
jsonpath "$.headers.content-type" == "application/x-www-form-urlencoded"

POST {{web}}/
```
one {{my-name}}
two
```
HTTP 200
[Asserts]
jsonpath "$.body" == "one \"you\" & I\ntwo\n"
jsonpath "$.headers.content-type" not exists

POST {{web}}/
`one line`
HTTP 200
[Asserts]
jsonpath "$.body" == `one line`
jsonpath "$.body" isString

POST {{web}}/
hex,6162 63;
HTTP 200
[Asserts]
jsonpath "$.body" == "abc"

POST {{web}}/
base64,YWJj;
HTTP 200
[Asserts]
jsonpath "$.body" == "abc"

POST {{web}}/
[1, 2]
HTTP 200
[Asserts]
jsonpath "$.body" == "[1, 2]"

DELETE {{web}}/
Host: example.test
Content-Type: text/x
true
HTTP 200
[Asserts]
jsonpath "$.headers.host" == "example.test"
jsonpath "$.headers.content-type" == "text/x"
jsonpath "$.body" == "true"
"#,
    );
}

#[test]
fn answers_are_looked_at_in_all_the_ways_that_are_supported() {
    passes(
        4,
        r#"
GET {{web}}/x
HTTP 200
X-One: 1
x-two: b
[Captures]
path: jsonpath "$.path"
number: jsonpath "$.big"
all: jsonpath "$.list[*]"
word: header "x-one" toInt
[Asserts]
status == 200
status < 300
status >= 200
version == "1.1"
url endsWith "/x"
header "X-One" == "1"
header "x-two" count == 2
header "x-two" contains "a"
header "x-none" not exists
duration < 60000
body contains "method"
body not contains "nowhere"
bytes count > 100
bytes contains hex,6d657468;
variable "path" == "/x"
variable "number" == 12345678901
variable "word" == 1
jsonpath "$.big" == {{number}}
jsonpath "$.path" == "{{path}}"
jsonpath "$.list" count == 6
jsonpath "$.list" isList
jsonpath "$.list" isCollection
jsonpath "$.list[0]" isInteger
jsonpath "$.list[0]" == 1.0
jsonpath "$.list[1]" isFloat
jsonpath "$.list[1]" > 2
jsonpath "$.list[1]" toInt == 2
jsonpath "$.list[2]" == "x"
jsonpath "$.list[2]" != 1
jsonpath "$.list[3]" == null
jsonpath "$.list[4]" == true
jsonpath "$.list[4]" isBoolean
jsonpath "$.list[5]" isObject
jsonpath "$.list[5].a" == "b"
jsonpath "$.list[9]" not exists
jsonpath "$.list" nth 2 == "x"
jsonpath "$.list" first == 1
jsonpath "$.list" last isObject
jsonpath "$.list" contains null
jsonpath "$.none" isEmpty
jsonpath "$.big" isNumber
jsonpath "$.big" toString startsWith "123"
jsonpath "$.path" matches /^\/\w$/
jsonpath "$.path" matches "^/x$"
jsonpath "$.path" regex /(.)$/ == "x"
jsonpath "$.path" replace "/" "-" == "-x"
jsonpath "$.path" split "/" count == 2

GET {{web}}{{path}}{{word}}
HTTP 200
[Asserts]
jsonpath "$.path" == "/x1"

GET {{web}}/text
HTTP 200
[Asserts]
regex /(\w+)\n$/ == "three"
regex "two" == "two"
body split ", " nth 0 == "one"
body == ```
one, two
three
```
```raw
one, two
three
```

GET {{web}}/empty
HTTP 200
[Asserts]
body isEmpty
bytes count == 0
``
"#,
    );
}

#[test]
fn what_is_not_as_expected_is_said_with_its_line() {
    fails(
        "GET {{web}}/missing\nHTTP 200\n",
        &[(2, "the status is 404, expected: 200")],
    );
    fails(
        "GET {{web}}/\nHTTP/1.0 200\n",
        &[(2, "the version is HTTP/1.1, expected: HTTP/1.0")],
    );
    // All of one answer.
    fails(
        r#"GET {{web}}/x
HTTP 200
x-one: 2
x-none: 2
[Asserts]
jsonpath "$.path" == "/y"
jsonpath "$.list" count == 7
status == 200
jsonpath "$.nowhere" exists
jsonpath "$.path" not exists
header "x-one" > 1
body contains {{unknown}}
jsonpath "$.path" count == 1
jsonpath "$.path" not matches /x/
"#,
        &[
            (3, "the header `x-one` is `1`; expected: `2`"),
            (4, "the header `x-none` is not there; expected: `2`"),
            (6, "`jsonpath \"$.path\"` is \"/x\"; expected: == \"/y\""),
            (7, "`jsonpath \"$.list\" count` is 6; expected: == 7"),
            (9, "`jsonpath \"$.nowhere\"` is not there; expected: exists"),
            (10, "is \"/x\"; expected: not exists"),
            (11, "is \"1\"; expected: > 1"),
            (12, "there is no variable `unknown`: there are my-name, web"),
            (13, "a list is expected before a filter, and it is \"/x\""),
            (14, "expected: not matches /x/"),
        ],
    );
    fails(
        "GET {{web}}/text\nHTTP 200\n[Asserts]\njsonpath \"$\" exists\n",
        &[(4, "the body is not JSON")],
    );
    fails(
        "GET {{web}}/text\nHTTP 200\n[Captures]\na: regex \"nowhere\"\n\nGET {{web}}/{{a}}\n",
        &[(4, "there is nothing for `a`")],
    );
    fails(
        "GET {{web}}/text\nHTTP 200\n`one`\n",
        &[(3, "the body is\none, two\nthree\nexpected:\none")],
    );
    // What follows is not tried.
    let ran = run("GET {{web}}/\nHTTP 200\n\nGET {{web}}/\nHTTP 500\n\nGET {{web}}/\nHTTP 501\n");
    assert_eq!((ran.requests, ran.wrong.len()), (1, 1));
    fails(
        "GET http://127.0.0.1:1/\n",
        &[(1, "cannot connect to 127.0.0.1:1")],
    );
    fails(
        "\nGET https://127.0.0.1:1/\n",
        &[(2, "`https` URLs are not supported")],
    );
    fails("GET {{nobody}}/\n", &[(1, "there is no variable `nobody`")]);
    fails("GET nonsense\n", &[(1, "`nonsense` is no URL")]);
    fails("\n\nPOST {{web}}/\nfile,x.txt;\n", &[(3, "cannot read")]);
    fails(
        "POST {{web}}/\nfile,../x.txt;\n",
        &[(1, "is not below the folder of the tests")],
    );
}

#[test]
fn cookies_are_kept_by_path_until_they_end_and_options_are_kept_to() {
    passes(
        7,
        r#"
GET {{web}}/login
HTTP 200
[Asserts]
cookie "session" == "abc"

GET {{web}}/a
HTTP 200
[Asserts]
jsonpath "$.headers.cookie" == "session=abc"

GET {{web}}/deep/er
[Options]
variable: greeting=hello {{my-name}}
HTTP 200
[Asserts]
jsonpath "$.headers.cookie" == "session=abc; other=1"
variable "greeting" == "hello \"you\" & I"

GET {{web}}/logout
GET {{web}}/a
HTTP 200
[Asserts]
jsonpath "$.headers.cookie" not exists

GET {{web}}/nowhere
[Options]
skip: true
HTTP 500

GET {{web}}/login
GET {{web}}/gone
# Ends the cookie as well; it is asked until the answer is another one.
"#,
    );
    passes(
        1,
        "GET {{web}}/count\n[Options]\nretry: 5\nretry-interval: 1ms\ndelay: 0\nHTTP 200\n[Asserts]\nbody == \"3\"\n",
    );
    fails(
        "GET {{web}}/count\n[Options]\nretry: 2\nretry-interval: 1ms\nHTTP 200\n[Asserts]\nbody == \"9\"\n",
        &[(7, "is \"2\"; expected: == \"9\"")],
    );
}

#[test]
fn files_are_sent_from_the_folder_of_the_tests() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("body.bin"), "from a file").unwrap();
    let text = "POST {{web}}/\nfile,body.bin;\nHTTP 200\n[Asserts]\njsonpath \"$.body\" == \"from a file\"\n";
    let ran = run_in(folder.path(), text);
    assert_eq!(ran.wrong, []);
}

#[test]
fn what_is_not_supported_is_an_error_with_its_place() {
    for (text, line, column, words) in [
        ("get http://x\n", 1, 1, "a request is expected"),
        (
            "POST http://x\n```json 1```\n",
            2,
            9,
            "begins on the next line",
        ),
        ("GET http://x\na b: c\n", 2, 1, "`name: value` is expected"),
        ("GET\n", 1, 4, "a URL is expected"),
        ("GET http://x y\n", 1, 14, "`y` is not expected here"),
        (
            "GET http://x\nno header\n",
            2,
            1,
            "`name: value` is expected",
        ),
        (
            "GET http://x\n[Multipart]\na: b\n",
            2,
            1,
            "`[Multipart]` is not supported",
        ),
        (
            "GET http://x\n[Options]\nlocation: true\n",
            3,
            1,
            "the option `location` is not supported",
        ),
        (
            "GET http://x\n[Options]\nretry: many\n",
            3,
            1,
            "not a value of the option `retry`",
        ),
        (
            "GET http://x\n[Query]\na: {{f x}}\n",
            3,
            8,
            "a variable is written",
        ),
        (
            "POST http://x\n<a/>\n",
            2,
            1,
            "XML without quotes is not supported",
        ),
        ("POST http://x\n{\"a\": \n", 2, 1, "this JSON is not closed"),
        ("POST http://x\n```\na\n", 3, 1, "after this"),
        (
            "POST http://x\n```graphql\na\n```\n",
            2,
            4,
            "GraphQL is not supported",
        ),
        ("POST http://x\n```json,x\n1\n```\n", 2, 4, "are supported"),
        ("POST http://x\n`a`\n`b`\n", 3, 1, "a body has one value"),
        ("POST http://x\nhex,0;\n", 2, 1, "these are no bytes"),
        (
            "GET http://x\nHTTP/2 200\n",
            2,
            1,
            "only HTTP/1.1 is spoken",
        ),
        ("GET http://x\nHTTP two\n", 2, 6, "a status is expected"),
        (
            "GET http://x\nHTTP 200\n[Query]\na: b\n",
            3,
            1,
            "`[Query]` is not supported here",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nxpath \"//a\" exists\n",
            4,
            1,
            "the query `xpath` is not supported",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nstatsu == 1\n",
            4,
            1,
            "one of these is expected here: status",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nstatus\n",
            4,
            7,
            "what is expected?",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nstatus equals 1\n",
            4,
            8,
            "`equals` is not supported here",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nstatus == two\n",
            4,
            11,
            "a value is expected",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nstatus == 200 201\n",
            4,
            15,
            "`201` is not expected here",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nheader x == 1\n",
            4,
            8,
            "a text in double quotes",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nbody == \"x\n",
            4,
            9,
            "no closing quote",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nbody == \"\\q\"\n",
            4,
            10,
            "stands for nothing",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nbody matches /(/\n",
            4,
            14,
            "not a regular expression",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nbody matches /a\n",
            4,
            14,
            "no closing `/`",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\njsonpath \"$..a\" exists\n",
            4,
            10,
            "is not supported",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\ncookie \"a[Path]\" exists\n",
            4,
            1,
            "attributes of cookies",
        ),
        (
            "GET http://x\nHTTP 200\n[Captures]\na: body redact\n",
            4,
            9,
            "`redact` is not supported",
        ),
        (
            "GET http://x\nHTTP 200\n[Asserts]\nbody daysAfterNow > 1\n",
            4,
            6,
            "`daysAfterNow` is not supported here",
        ),
    ] {
        let wrong = hurl::parse(text).unwrap_err();
        let place = wrong.place(text);
        assert_eq!((place.0, place.1), (line, column), "{text} {wrong}");
        assert!(wrong.message.contains(words), "{text} {wrong}");
    }
    // Whatever a file is, it is read or refused.
    let text = include_str!("../templates/site/site.hurl");
    for end in 0..text.len() {
        let _ = hurl::parse(&text[..end]);
        let _ = hurl::parse(&text[end..]);
    }
    assert!(hurl::parse("").is_ok() && hurl::parse("# nothing\n").is_ok());
    assert!(hurl::parse("\u{feff}GET http://x\r\nA: b\r\n\r\nHTTP 200\r\n").is_ok());
}
