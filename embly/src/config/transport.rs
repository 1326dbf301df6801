//! What a gateway has between the socket and what it speaks: `tls`.

use std::path::Path;

use super::fields::{Field, Fields};
use super::problem::{Problem, Problems};
use super::tree::{Node, Value};
use super::{Tls, codes, schema};
use crate::tls::Files;

/// The value of `tls`: a map, or a list of them.
pub(super) fn tls(field: Field<'_>, root: &Path, problems: &mut Problems) -> Option<Tls> {
    let mut tls = Tls {
        files: Vec::new(),
        dev: false,
    };
    let before = problems.count();
    match &field.entry.value.value {
        Value::List(items) if !items.is_empty() => {
            for item in items {
                one(item, root, &mut tls, problems);
            }
        }
        _ => one(&field.entry.value, root, &mut tls, problems),
    }
    (problems.count() == before).then_some(tls)
}

fn one(item: &Node, root: &Path, tls: &mut Tls, problems: &mut Problems) {
    let Some(fields) = Fields::read(item, &schema::TLS, problems) else {
        return;
    };
    let (cert, key) = (fields.get("cert"), fields.get("key"));
    let dev = fields.get("dev").map(|field| field.flag(problems));
    let path = |field: Field<'_>, problems: &mut Problems| {
        field.text(problems).map(|text| root.join(text))
    };
    match (cert, key, dev) {
        (None, None, Some(dev)) => match dev {
            Some(true) => tls.dev = true,
            Some(false) => {
                let message = "`dev: false` is no certificate";
                let problem = Problem::new(&codes::TLS, item.span.clone(), message);
                problems.push(problem.help("remove it, or write `cert: FILE` and `key: FILE`"));
            }
            None => {}
        },
        (Some(cert), Some(key), None) => {
            let (Some(cert_path), Some(key_path)) = (path(cert, problems), path(key, problems))
            else {
                return;
            };
            let files = Files {
                cert: cert_path,
                key: key_path,
            };
            if let Err(error) = files.load() {
                let at = if error.is_of(&files.key) { key } else { cert };
                let problem = Problem::new(&codes::TLS, at.span(), error.to_string());
                let help = "`cert` and `key` are PEM files, relative to the project folder";
                problems.push(problem.help(help));
            }
            tls.files.push(files);
        }
        (cert, key, dev) => {
            let (message, help) = match (cert, key, dev) {
                (_, _, Some(_)) => (
                    "a certificate is in files, or made by `dev: true`, not both",
                    "make two items of it",
                ),
                (Some(_), ..) => ("a certificate without its `key`", "write `key: FILE`"),
                (_, Some(_), _) => ("a key without its `cert`", "write `cert: FILE`"),
                _ => (
                    "`tls` has no certificate",
                    "write `cert: FILE` and `key: FILE`, or `dev: true`",
                ),
            };
            let problem = Problem::new(&codes::TLS, item.span.clone(), message);
            problems.push(problem.help(help));
        }
    }
}
