//! What a project can begin with. A template is a line in the table, and a folder beside the others.

/// A project that builds, answers, and has a test.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    /// What is typed.
    pub name: &'static str,
    /// What it makes, in a line.
    pub what: &'static str,
    /// Its function, which gives the crate its name.
    pub function: &'static str,
    /// What to type in its folder, and what comes of it.
    pub start: &'static str,
    /// What to do then.
    pub then: &'static str,
    /// Commands for its README.
    pub(super) tries: &'static str,
    /// The project file.
    pub(super) project: &'static str,
    /// The program.
    pub(super) source: &'static str,
    /// What else it has, by its place.
    pub(super) more: &'static [(&'static str, &'static str)],
    /// Lines for the README about what else it has.
    pub(super) places: &'static str,
}

macro_rules! file {
    ($path:literal) => {
        include_str!(concat!("../../templates/", $path))
    };
}

/// All, the default first.
pub static TEMPLATES: [Template; 6] = [
    Template {
        name: "http",
        what: "a function that answers HTTP requests",
        function: "listener",
        start: "embly dev",
        then: "then open http://127.0.0.1:8082 and change `listener/src/main.rs`",
        tries: "\
embly dev                       # build, run, and build again when something changes
curl http://127.0.0.1:8082/     # Hello from /",
        project: file!("http/embly-project.yml"),
        source: file!("http/main.rs"),
        more: &[("tests/hello.hurl", file!("http/hello.hurl"))],
        places: "| requests to all of it, for `embly test` | `tests/` |\n",
    },
    Template {
        name: "tcp",
        what: "a function that talks to TCP clients, a process for each connection",
        function: "echo",
        start: "embly dev",
        then: "then `nc 127.0.0.1 8083`, type lines, and change `echo/src/main.rs`",
        tries: "\
embly dev                       # build, run, and build again when something changes
nc 127.0.0.1 8083               # what you type is answered, line by line",
        project: file!("tcp/embly-project.yml"),
        source: file!("tcp/main.rs"),
        more: &[],
        places: "",
    },
    Template {
        name: "websocket",
        what: "a function that talks to WebSockets, a process for each",
        function: "chat",
        start: "embly dev",
        then: "then `embly ws ws://127.0.0.1:8084`, type lines, and change `chat/src/main.rs`",
        tries: "\
embly dev                       # build, run, and build again when something changes
embly ws ws://127.0.0.1:8084    # what you type comes back",
        project: file!("websocket/embly-project.yml"),
        source: file!("websocket/main.rs"),
        more: &[],
        places: "",
    },
    Template {
        name: "cron",
        what: "a function that runs again and again, by a schedule",
        function: "digest",
        start: "embly invoke digest </dev/null",
        then: "runs it now, `embly dev` every five minutes; change `digest/src/main.rs`",
        tries: "\
embly invoke digest </dev/null  # run it now
embly dev                       # build, run when it is time, and build again when something changes",
        project: file!("cron/embly-project.yml"),
        source: file!("cron/main.rs"),
        more: &[],
        places: "",
    },
    Template {
        name: "site",
        what: "static files, and a function that their page asks",
        function: "api",
        start: "embly dev",
        then: "then open http://127.0.0.1:8085 and change `public/` and `api/src/main.rs`",
        tries: "\
embly dev                       # build, run, and build again when something changes
curl http://127.0.0.1:8085/api/hello/you",
        project: file!("site/embly-project.yml"),
        source: file!("site/main.rs"),
        more: &[
            ("public/404.html", file!("site/public/404.html")),
            ("public/index.html", file!("site/public/index.html")),
            ("public/site.js", file!("site/public/site.js")),
            ("public/style.css", file!("site/public/style.css")),
            ("tests/site.hurl", file!("site/site.hurl")),
        ],
        places: "\
| pages, scripts and what else is served as it is | `public/` |
| requests to all of it, for `embly test` | `tests/` |
",
    },
    Template {
        name: "empty",
        what: "a function, and nothing that starts it",
        function: "hello",
        start: "echo you | embly invoke hello",
        then: "answers, and `embly add gateway index` opens a gateway; change `hello/src/main.rs`",
        tries: "\
echo you | embly invoke hello   # Hello you",
        project: file!("empty/embly-project.yml"),
        source: file!("empty/main.rs"),
        more: &[],
        places: "",
    },
];

impl Template {
    /// The one of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TEMPLATES.iter().find(|template| template.name == name)
    }

    /// Whether what it serves is its function, and no files beside it.
    pub fn is_one_function(&self) -> bool {
        let mut paths = self.more.iter().map(|(path, _)| path);
        paths.all(|path| path.starts_with("tests/"))
    }

    /// The one that is taken where nobody chooses.
    pub fn usual() -> &'static Self {
        &TEMPLATES[0]
    }
}
