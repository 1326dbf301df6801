use proptest::prelude::*;

use super::*;

fn methods(list: &str) -> Takes {
    (!list.is_empty()).then(|| list.split(' ').map(str::to_owned).collect())
}

fn table(routes: &[(&str, &str)]) -> Table<String> {
    let mut table = Table::default();
    for (pattern, list) in routes {
        let added = table.add(
            Pattern::parse(pattern).unwrap(),
            methods(list),
            format!("{pattern} {list}").trim_end().to_owned(),
        );
        assert_eq!(added, Ok(()), "{pattern}");
    }
    table
}

/// The route, with its parameters behind it.
fn shown(table: &Table<String>, method: &str, path: &str) -> String {
    match table.find(method, path) {
        Found::Route {
            value,
            parameters,
            head_of_get,
        } => {
            let mut text = value.clone();
            for (name, value) in parameters {
                text += &format!(" {name}={value}");
            }
            text + if head_of_get { " (head)" } else { "" }
        }
        Found::OtherMethods(others) => {
            let others: Vec<_> = others.into_iter().collect();
            format!("405 {}", others.join(" "))
        }
        Found::Nothing => "404".to_owned(),
    }
}

#[test]
fn a_literal_beats_a_parameter_beats_the_rest_in_any_order() {
    let mut routes = [
        ("/", ""),
        ("/{rest...}", ""),
        ("/{a}", ""),
        ("/users/me", ""),
        ("/users/{id}", ""),
        ("/users/{id}/posts", ""),
        ("/users/{rest...}", ""),
        ("/{a}/b/d", ""),
        ("/a/{b}/c", ""),
        ("/users/{id}/{rest...}", ""),
        ("/folder/", ""),
    ];
    for _ in 0..routes.len() {
        routes.rotate_left(1);
        let table = table(&routes);
        for (path, expected) in [
            ("/", "/"),
            ("/x", "/{a} a=x"),
            ("/x/y", "/{rest...} rest=x/y"),
            ("/users/me", "/users/me"),
            ("/users/7", "/users/{id} id=7"),
            ("/users/7/posts", "/users/{id}/posts id=7"),
            ("/users/me/posts", "/users/{id}/posts id=me"),
            ("/users/7/x/y", "/users/{id}/{rest...} id=7 rest=x/y"),
            ("/users/7/", "/users/{id}/{rest...} id=7 rest="),
            ("/users/", "/users/{rest...} rest="),
            ("/users", "/{a} a=users"),
            ("/a/b/d", "/{a}/b/d a=a"),
            ("/a/b/c", "/a/{b}/c b=b"),
            ("/a//c", "/{rest...} rest=a//c"),
            ("//", "/{rest...} rest=/"),
            ("/folder/", "/folder/"),
            ("/folder", "/{a} a=folder"),
            ("/a%2Fb", "/{a} a=a%2Fb"),
        ] {
            assert_eq!(shown(&table, "GET", path), expected, "{path}");
        }
    }
}

#[test]
fn a_route_that_does_not_take_the_method_leaves_it_to_the_next_and_then_says_which_there_are() {
    let table = table(&[
        ("/users/me", "POST"),
        ("/users/{id}", "GET"),
        ("/users/{name}", "PUT DELETE"),
        ("/files/{rest...}", "GET"),
    ]);
    for (method, path, expected) in [
        ("POST", "/users/me", "/users/me POST"),
        ("GET", "/users/me", "/users/{id} GET id=me"),
        ("HEAD", "/users/me", "/users/{id} GET id=me (head)"),
        ("PUT", "/users/x", "/users/{name} PUT DELETE name=x"),
        ("PATCH", "/users/me", "405 DELETE GET POST PUT"),
        ("PATCH", "/files/a", "405 GET"),
        ("GET", "/other", "404"),
    ] {
        assert_eq!(shown(&table, method, path), expected, "{method} {path}");
    }
}

#[test]
fn routes_that_take_the_same_requests_clash() {
    for (first, second, clash) in [
        (("/a", ""), ("/a", ""), Some(None)),
        (("/a/{x}", "GET"), ("/a/{y}", "GET PUT"), Some(Some("GET"))),
        (("/a/{x}", "GET"), ("/a/{y}", ""), Some(Some("GET"))),
        (("/a/{x...}", ""), ("/a/{y...}", "PUT"), Some(Some("PUT"))),
        (("/%61", ""), ("/a", ""), Some(None)),
        (("/a", "GET"), ("/a", "PUT"), None),
        (("/a", ""), ("/a/", ""), None),
        (("/{x}", ""), ("/{x...}", ""), None),
        (("/a/", ""), ("/a/{x...}", ""), None),
    ] {
        let mut table = table(&[first]);
        let (pattern, list) = second;
        let added = table.add(
            Pattern::parse(pattern).unwrap(),
            methods(list),
            String::new(),
        );
        let found = added.err().map(|clash| clash.method);
        let expected = clash.map(|method| method.map(str::to_owned));
        assert_eq!(found, expected, "{first:?} {second:?}");
    }
}

/// Whether a pattern matches, segment by segment, and how special it is.
fn matches(pattern: &Pattern, path: &str) -> Option<Vec<u8>> {
    let parts: Vec<&str> = path[1..].split('/').collect();
    let mut rank = Vec::new();
    for (at, segment) in pattern.segments.iter().enumerate() {
        let part = parts.get(at)?;
        match segment {
            Segment::Literal(text) if text == part => rank.push(2),
            Segment::Parameter(_) if !part.is_empty() => rank.push(1),
            _ => return None,
        }
    }
    let over = parts.len() > pattern.segments.len();
    (over == pattern.rest.is_some()).then(|| {
        rank.push(0);
        rank
    })
}

proptest! {
    /// Beside a plain list that is searched from one end to the other.
    #[test]
    fn the_tree_finds_what_the_most_special_match_of_a_list_is(
        patterns in prop::collection::vec("(/(a|b|\\{x\\}|\\{y\\})){0,3}(/|/\\{z\\.\\.\\.\\})?", 0..12),
        path in "/((a|b|c|)(/(a|b|c|)){0,3})",
    ) {
        let mut table = Table::default();
        let mut list = Vec::new();
        for text in patterns {
            let Ok(pattern) = Pattern::parse(&text) else { continue };
            if table.add(pattern.clone(), None, text.clone()).is_ok() {
                list.push((pattern, text));
            }
        }
        let ranked = list.iter().filter_map(|(pattern, text)| Some((matches(pattern, &path)?, text)));
        let best = ranked.max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, text)| text.clone());
        let found = match table.find("GET", &path) {
            Found::Route { value, .. } => Some(value.clone()),
            _ => None,
        };
        prop_assert_eq!(found, best);
    }
}
