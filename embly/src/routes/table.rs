//! All routes of a gateway: a tree of segments.

use std::collections::{BTreeSet, HashMap};

use super::pattern::{Pattern, Segment};

/// The methods that a route takes; `None` for all.
pub type Takes = Option<BTreeSet<String>>;

/// Routes by their paths and methods; `T` is what stands behind one.
#[derive(Debug)]
pub struct Table<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<String, Node<T>>,
    parameter: Option<Box<Node<T>>>,
    /// Routes that end here.
    here: Vec<Entry<T>>,
    /// Routes whose rest begins here.
    rest: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    pattern: Pattern,
    methods: Takes,
    value: T,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            literals: HashMap::new(),
            parameter: None,
            here: Vec::new(),
            rest: Vec::new(),
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
        }
    }
}

/// Another route takes the same requests.
#[derive(Debug, PartialEq, Eq)]
pub struct Clash<'a, T> {
    /// What stands behind it.
    pub with: &'a T,
    /// A method that both take; `None` for all.
    pub method: Option<String>,
}

/// What a request has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// A route.
    Route {
        /// What stands behind it.
        value: &'a T,
        /// Its parameters, by name, encoded as in the path.
        parameters: Vec<(&'a str, String)>,
        /// The route takes GET and not HEAD, which the gateway makes of it.
        head_of_get: bool,
    },
    /// Routes for this path that do not take the method: those that they do.
    OtherMethods(BTreeSet<String>),
    /// No route for this path.
    Nothing,
}

impl<T> Table<T> {
    /// Adds a route.
    ///
    /// # Errors
    /// Another one takes the same requests; nothing is added then.
    pub fn add(&mut self, pattern: Pattern, methods: Takes, value: T) -> Result<(), Clash<'_, T>> {
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Parameter(_) => node.parameter.get_or_insert_default(),
            };
        }
        let entries = if pattern.rest.is_some() {
            &mut node.rest
        } else {
            &mut node.here
        };
        let clashing = |entry: &Entry<T>| shared(&entry.methods, &methods).is_some();
        if let Some(at) = entries.iter().position(clashing) {
            let other = &entries[at];
            return Err(Clash {
                with: &other.value,
                method: shared(&other.methods, &methods).flatten(),
            });
        }
        entries.push(Entry {
            pattern,
            methods,
            value,
        });
        Ok(())
    }

    /// What stands behind all of them.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        let (mut nodes, mut found) = (vec![&self.root], Vec::new());
        while let Some(node) = nodes.pop() {
            found.extend(node.here.iter().chain(&node.rest));
            nodes.extend(node.literals.values());
            nodes.extend(node.parameter.as_deref());
        }
        found.into_iter().map(|entry| &entry.value)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let Node {
            literals,
            parameter,
            here,
            rest,
        } = &self.root;
        literals.is_empty() && parameter.is_none() && here.is_empty() && rest.is_empty()
    }

    /// The route for a path in its [normal form](super::normal).
    pub fn find(&self, method: &str, path: &str) -> Found<'_, T> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let segments: Vec<&str> = rest.split('/').collect();
        let mut search = Search {
            method,
            segments: &segments,
            others: BTreeSet::new(),
        };
        match search.below(&self.root, 0) {
            Some((entry, head_of_get)) => Found::Route {
                value: &entry.value,
                parameters: parameters(&entry.pattern, &segments),
                head_of_get,
            },
            None if search.others.is_empty() => Found::Nothing,
            None => Found::OtherMethods(search.others),
        }
    }
}

/// A method that both take, if there is one.
fn shared(a: &Takes, b: &Takes) -> Option<Option<String>> {
    match (a, b) {
        (None, None) => Some(None),
        (None, Some(some)) | (Some(some), None) => some.first().cloned().map(Some),
        (Some(a), Some(b)) => a.intersection(b).next().cloned().map(Some),
    }
}

fn parameters<'a>(pattern: &'a Pattern, segments: &[&str]) -> Vec<(&'a str, String)> {
    let mut found = Vec::new();
    for (segment, text) in pattern.segments.iter().zip(segments) {
        if let Segment::Parameter(name) = segment {
            found.push((name.as_str(), (*text).to_owned()));
        }
    }
    if let Some(name) = &pattern.rest {
        let rest = segments.get(pattern.segments.len()..).unwrap_or_default();
        found.push((name, rest.join("/")));
    }
    found
}

struct Search<'s> {
    method: &'s str,
    segments: &'s [&'s str],
    /// Methods of routes that match but for the method.
    others: BTreeSet<String>,
}

impl Search<'_> {
    /// The first that matches, of those below a node, the more special ones first. Each node is
    /// looked at once at most, since one way leads to it.
    fn below<'a, T>(&mut self, node: &'a Node<T>, at: usize) -> Option<(&'a Entry<T>, bool)> {
        let Some(segment) = self.segments.get(at) else {
            return self.of(&node.here);
        };
        if let Some(next) = node.literals.get(*segment)
            && let Some(found) = self.below(next, at + 1)
        {
            return Some(found);
        }
        if let Some(next) = &node.parameter
            && !segment.is_empty()
            && let Some(found) = self.below(next, at + 1)
        {
            return Some(found);
        }
        self.of(&node.rest)
    }

    fn of<'a, T>(&mut self, entries: &'a [Entry<T>]) -> Option<(&'a Entry<T>, bool)> {
        let takes = |method: &str| {
            let takes = move |entry: &&Entry<T>| match &entry.methods {
                None => true,
                Some(methods) => methods.contains(method),
            };
            entries.iter().find(takes)
        };
        if let Some(entry) = takes(self.method) {
            return Some((entry, false));
        }
        if self.method == "HEAD"
            && let Some(entry) = takes("GET")
        {
            return Some((entry, true));
        }
        let methods = entries.iter().filter_map(|entry| entry.methods.as_ref());
        self.others.extend(methods.flatten().cloned());
        None
    }
}

#[cfg(test)]
mod tests;
