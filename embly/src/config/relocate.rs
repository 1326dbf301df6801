//! The project file as it is in a bundle: what it names lies elsewhere, so other paths are written in
//! their places, and all else stays as it is, with its comments and its lines.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::problem::{Problem, Problems, quote};
use super::tree::{Node, Value};
use super::{codes, overlay, read, yaml};

/// Something that a project file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing<'t> {
    /// The module of the function of this name.
    Module(&'t str),
    /// A folder of files that a route serves.
    Files(PathBuf),
    /// The folder with the migrations of the store of this name.
    Migrations(&'t str),
    /// Certificates of authorities.
    Authorities(PathBuf),
}

/// Gives the place of a thing that is named in this one of the environments, or in none of them.
pub type Place<'p> = dyn FnMut(Thing<'_>, Option<&str>) -> String + 'p;

/// The text of a project file, in which nothing is wrong, with other places for what it names, also
/// in its environments. They are relative to the project and need no quotes.
///
/// # Errors
/// What it names cannot be taken along.
pub fn relocated(file: &Path, to: &mut Place<'_>) -> Result<String, Problems> {
    let mut problems = read::text(file)?;
    let Some(tree) = yaml::parse(&mut problems) else {
        return Err(problems);
    };
    let root = file.parent().unwrap_or(Path::new("/"));
    let mut edits = Edits::default();
    edits.part(&tree, root, &mut |thing| to(thing, None), &mut problems);
    if let Some(Value::Map(environments)) =
        get(&tree, overlay::KEY).map(|environments| &environments.value)
    {
        for entry in environments {
            let mut to = |thing: Thing<'_>| to(thing, Some(&entry.key));
            edits.part(&entry.value, root, &mut to, &mut problems);
        }
    }
    let changed = edits.apply(&problems.text);
    edits.verify(&tree, &changed, &mut problems);
    problems.sort();
    match problems.count().0 {
        0 => Ok(changed),
        _ => Err(problems),
    }
}

/// What is written in the place of what.
#[derive(Debug, Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Of a project, or of what an environment says of one.
    fn part(
        &mut self,
        part: &Node,
        root: &Path,
        to: &mut dyn FnMut(Thing<'_>) -> String,
        problems: &mut Problems,
    ) {
        for function in list(part, "functions") {
            let Some(name) = text(function, "name") else {
                continue;
            };
            self.set(function, "path", || to(Thing::Module(name)));
            self.set(function, "language", || "wasm".to_owned());
            self.set(function, "context", || ".".to_owned());
            let allow = get(function, "allow");
            let grants = allow.map(|allow| ["http", "tcp"].map(|kind| list(allow, kind)));
            for grant in grants.into_iter().flatten().flatten() {
                if let Some(ca) = text(grant, "ca") {
                    self.set(grant, "ca", || to(Thing::Authorities(root.join(ca))));
                }
            }
        }
        for gateway in list(part, "gateways") {
            let tls = get(gateway, "tls");
            for item in tls.into_iter().flat_map(one_or_more) {
                absolute(get(item, "cert"), "", problems);
                absolute(get(item, "key"), "", problems);
            }
            absolute(get(gateway, "bind"), "unix:", problems);
            for place in std::iter::once(gateway).chain(list(gateway, "routes")) {
                let jwt = get(place, "auth").and_then(|auth| get(auth, "jwt"));
                absolute(jwt.and_then(|jwt| get(jwt, "keys")), "", problems);
                if let Some(files) = get(place, "files")
                    && let Some(folder) = text(files, "root")
                {
                    self.set(files, "root", || to(Thing::Files(root.join(folder))));
                }
            }
        }
        for store in list(part, "stores") {
            if let Some(name) = text(store, "name") {
                self.set(store, "migrations", || to(Thing::Migrations(name)));
            }
        }
    }

    /// Another value for a key that is there.
    fn set(&mut self, node: &Node, key: &str, value: impl FnOnce() -> String) {
        if let Some(node) = get(node, key).filter(|node| !node.is_null()) {
            self.0.push((node.span.clone(), value()));
        }
    }

    fn apply(&mut self, text: &str) -> String {
        self.0.sort_by_key(|(span, _)| span.start);
        let mut changed = String::new();
        let mut from = 0;
        for (span, value) in &self.0 {
            changed.push_str(&text[from..span.start]);
            changed.push_str(value);
            from = span.end;
        }
        changed.push_str(&text[from..]);
        changed
    }

    /// Sees that the changed text means the same but for what was changed: text that goes on over
    /// several lines does not end where it should.
    fn verify(&self, before: &Node, changed: &str, problems: &mut Problems) {
        let mut after = Problems::new(problems.file.clone(), changed.to_owned());
        let after = yaml::parse(&mut after);
        if after.is_some_and(|after| self.same(before, &after)) {
            return;
        }
        let lines = |span: &Range<usize>| problems.text[span.clone()].contains('\n');
        let odd = self.0.iter().map(|(span, _)| span);
        let odd = odd.clone().find(|span| lines(span)).or(odd.clone().next());
        let message = "a path that is written in a way that cannot be replaced";
        let problem = match odd {
            Some(span) => Problem::new(&codes::NOT_IN_BUNDLES, span.clone(), message),
            None => Problem::of_file(&codes::NOT_IN_BUNDLES, message),
        };
        problems.push(problem.help("write it in one line"));
    }

    fn same(&self, before: &Node, after: &Node) -> bool {
        let edit = self.0.iter().find(|(span, _)| *span == before.span);
        match (&before.value, &after.value, edit) {
            (_, Value::Scalar(scalar), Some((_, value))) => scalar.text == *value,
            (Value::Scalar(before), Value::Scalar(after), None) => {
                before.text == after.text && before.plain == after.plain
            }
            (Value::List(before), Value::List(after), None) => {
                before.len() == after.len()
                    && before.iter().zip(after).all(|(b, a)| self.same(b, a))
            }
            (Value::Map(before), Value::Map(after), None) => {
                let pairs = before.iter().zip(after);
                before.len() == after.len()
                    && pairs
                        .into_iter()
                        .all(|(b, a)| b.key == a.key && self.same(&b.value, &a.value))
            }
            _ => false,
        }
    }
}

/// Says that a path is relative, which is none of another machine.
fn absolute(node: Option<&Node>, prefix: &str, problems: &mut Problems) {
    let Some(node) = node else { return };
    let Value::Scalar(scalar) = &node.value else {
        return;
    };
    let Some(path) = scalar.text.strip_prefix(prefix) else {
        return;
    };
    if !path.starts_with('/') {
        let message = format!("{} is relative to the project", quote(path));
        let help = format!(
            "write where it is on the machine that serves: `{prefix}/etc/embly/{}`",
            path.rsplit('/').next().unwrap_or(path).escape_debug()
        );
        let problem = Problem::new(&codes::NOT_IN_BUNDLES, node.span.clone(), message);
        problems.push(problem.help(help));
    }
}

fn get<'t>(node: &'t Node, key: &str) -> Option<&'t Node> {
    match &node.value {
        Value::Map(entries) => {
            let entry = entries.iter().find(|entry| entry.key == key)?;
            Some(&entry.value)
        }
        _ => None,
    }
}

fn text<'t>(node: &'t Node, key: &str) -> Option<&'t str> {
    match &get(node, key)?.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

fn list<'t>(node: &'t Node, key: &str) -> &'t [Node] {
    match get(node, key).map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn one_or_more(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("embly-project.yml");
        std::fs::write(&file, text).unwrap();
        let mut to = |thing: Thing<'_>, environment: Option<&str>| {
            let of = environment
                .map(|name| format!(".{name}"))
                .unwrap_or_default();
            match thing {
                Thing::Module(name) => format!("./functions/{name}{of}.wasm"),
                Thing::Files(from) => {
                    let name = from.strip_prefix(folder.path()).unwrap_or(&from);
                    format!("./static/{}", name.display())
                }
                Thing::Migrations(store) => format!("./migrations/{store}{of}"),
                Thing::Authorities(_) => "./ca/0.pem".to_owned(),
            }
        };
        relocated(&file, &mut to).map_err(|problems| problems.render(false, None))
    }

    #[test]
    fn what_it_names_is_replaced_and_the_rest_stays() {
        let before = "# kept\nfunctions:\n  - {name: a, path: ./crates/a, language: rust, context: ..} # so\n\
                      \x20 - name: b\n    language: \"wasm\"\n    path: 'b module.wat'\n\
                      \x20   allow: {http: [{url: \"https://x/\", ca: ca.pem}, \"https://y/\"], tcp: []}\n\
                      gateways:\n  - name: web\n    type: http\n    bind: unix:/run/x.sock\n    routes:\n\
                      \x20     - {path: \"/{f...}\", files: {root: ./site, not_found: path}}\n\
                      stores: [{name: main, type: sql, path: main.db, migrations: ./m}]\n";
        let after = "# kept\nfunctions:\n  - {name: a, path: ./functions/a.wasm, language: wasm, context: .} # so\n\
                     \x20 - name: b\n    language: wasm\n    path: ./functions/b.wasm\n\
                     \x20   allow: {http: [{url: \"https://x/\", ca: ./ca/0.pem}, \"https://y/\"], tcp: []}\n\
                     gateways:\n  - name: web\n    type: http\n    bind: unix:/run/x.sock\n    routes:\n\
                     \x20     - {path: \"/{f...}\", files: {root: ./static/site, not_found: path}}\n\
                     stores: [{name: main, type: sql, path: main.db, migrations: ./migrations/main}]\n";
        assert_eq!(moved(before).unwrap(), after);
    }

    #[test]
    fn what_an_environment_names_is_replaced_as_well_and_its_keys_are_named() {
        let before = "functions: [{name: a, path: ./a}]\nenvironments:\n  live:\n\
                      \x20   functions: [{name: a, path: ./b, context: ..}, {name: c, env: {A: b}}]\n\
                      \x20   gateways: [{name: web, files: {root: ./s}}]\n\
                      \x20   stores: [{name: main, migrations: ./m}]\n  none:\n";
        let after = "functions: [{name: a, path: ./functions/a.wasm}]\nenvironments:\n  live:\n\
                     \x20   functions: [{name: a, path: ./functions/a.live.wasm, context: .}, {name: c, env: {A: b}}]\n\
                     \x20   gateways: [{name: web, files: {root: ./static/s}}]\n\
                     \x20   stores: [{name: main, migrations: ./migrations/main.live}]\n  none:\n";
        assert_eq!(moved(before).unwrap(), after);
        let keys =
            "environments: {live: {gateways: [{name: web, tls: {cert: a.pem, key: /b.key}}]}}\n";
        let said = moved(keys).unwrap_err();
        assert!(said.contains("`a.pem` is relative"), "{said}");
    }

    #[test]
    fn keys_and_sockets_of_the_project_folder_are_for_no_other_machine() {
        let text = "gateways:\n  - name: web\n    bind: unix:web.sock\n    tls: {cert: a.pem, key: b.key}\n\
                    \x20   auth: {jwt: {keys: keys.json}}\n";
        let said = moved(text).unwrap_err();
        for path in ["web.sock", "a.pem", "b.key", "keys.json"] {
            assert!(said.contains(&format!("`{path}` is relative")), "{said}");
        }
        assert!(said.contains("unix:/etc/embly/web.sock"), "{said}");
    }

    #[test]
    fn a_path_over_several_lines_is_replaced_whole_or_not_at_all() {
        for value in [
            ">-\n      a\n",
            "|\n      a.wasm\n",
            "a\n      b.wasm\n",
            "\"a\\\n      b\"\n",
        ] {
            let text = format!("functions:\n  - name: a\n    path: {value}    language: wasm\n");
            match moved(&text) {
                Ok(after) => assert!(
                    after.contains("path: ./functions/a.wasm\n    language: wasm"),
                    "{after}"
                ),
                Err(said) => assert!(said.contains("in one line"), "{said}"),
            }
        }
    }
}
