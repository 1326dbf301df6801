//! The table of routes.

use crate::routes::{Found, Pattern, Table, normal};

/// The most routes that are compared one by one.
const ROUTES: usize = 64;

/// Lines: routes, each a pattern perhaps with methods in front, and behind an empty line paths that
/// are asked for. The table finds what a search through the list finds, the most special one first.
pub fn routes(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (routes, paths) = text.split_once("\n\n").unwrap_or((text, "/"));
    let (mut table, mut list) = (Table::default(), Vec::new());
    for line in routes.lines().take(ROUTES) {
        let (methods, pattern) = line.rsplit_once(' ').unwrap_or(("", line));
        let Ok(pattern) = Pattern::parse(pattern) else {
            continue;
        };
        assert_eq!(Pattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern));
        let methods: Vec<String> = methods.split(' ').map(str::to_owned).collect();
        let takes = (methods != [""]).then(|| methods.into_iter().collect());
        let number = list.len();
        if table.add(pattern.clone(), takes.clone(), number).is_ok() {
            list.push((pattern, takes));
        }
    }
    assert_eq!(table.values().count(), list.len());
    for line in paths.lines() {
        let (method, path) = line.split_once(' ').unwrap_or(("GET", line));
        let Ok(path) = normal(path) else { continue };
        assert_eq!(normal(&path).as_deref(), Ok(&*path), "its own normal form");
        assert!(!path.split('/').any(|part| part == "." || part == ".."));
        let takes = |number: usize, method: &str| {
            let (_, takes): &(Pattern, crate::routes::Takes) = &list[number];
            takes.as_ref().is_none_or(|takes| takes.contains(method))
        };
        let fitting = |method: &str| {
            let all = 0..list.len();
            let fits = all.filter(|number| takes(*number, method));
            let ranked = fits.filter_map(|number| Some((rank(&list[number].0, &path)?, number)));
            ranked.max()
        };
        let expected = match method {
            "HEAD" => fitting("HEAD").max(fitting("GET")),
            method => fitting(method),
        };
        match table.find(method, &path) {
            Found::Route {
                value, parameters, ..
            } => {
                let found = rank(&list[*value].0, &path).expect("it matches");
                let (best, _) = expected.expect("one that the list has as well");
                assert_eq!(found, best, "{path:?} of {routes:?}");
                let names: Vec<_> = parameters.iter().map(|(name, _)| *name).collect();
                assert_eq!(names, list[*value].0.names().collect::<Vec<_>>());
                assert!(parameters.iter().all(|(_, value)| path.contains(value)));
            }
            Found::OtherMethods(methods) => {
                assert_eq!(expected, None, "{path:?} of {routes:?}");
                assert!(!methods.is_empty() && !methods.contains(method));
            }
            Found::Nothing => assert_eq!(expected, None, "{path:?} of {routes:?}"),
        }
    }
}

/// How special a route is that matches, segment by segment: a literal, a parameter, the rest, which may be
/// empty, and has a slash before it.
fn rank(pattern: &Pattern, path: &str) -> Option<Vec<u8>> {
    let text = pattern.to_string();
    let mut parts: Vec<&str> = text[1..].split('/').collect();
    let path: Vec<&str> = path[1..].split('/').collect();
    if pattern.has_rest() {
        parts.pop();
    }
    let exact = parts.len() == path.len() && !pattern.has_rest();
    let fits = exact || (pattern.has_rest() && parts.len() < path.len());
    let mut rank = Vec::new();
    for (part, segment) in parts.iter().zip(&path).take_while(|_| fits) {
        let parameter = part.starts_with('{');
        if parameter && segment.is_empty() {
            return None;
        }
        let literal = || normal(&format!("/{part}")).ok();
        if !parameter && literal().is_none_or(|literal| literal[1..] != **segment) {
            return None;
        }
        rank.push(if parameter { 2 } else { 3 });
    }
    rank.push(if exact { 4 } else { 1 });
    fits.then_some(rank)
}
