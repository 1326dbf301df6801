//! `embly new`: makes a project.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::{Exit, context, output};
use crate::report::{Format, Reporter, typed};
use crate::scaffold::{self, TEMPLATES, Template};

#[derive(Debug, Args)]
pub(super) struct New {
    /// Name of the folder to make, or an empty folder
    #[arg(required_unless_present = "list")]
    path: Option<PathBuf>,
    /// What to begin with
    #[arg(short, long, value_name = "NAME", value_parser = template(), default_value = Template::usual().name)]
    template: &'static Template,
    /// Show the templates and the files that each makes, and make nothing
    #[arg(long, conflicts_with_all = ["path", "template"])]
    list: bool,
}

/// One of the templates, by its name.
fn template() -> impl TypedValueParser<Value = &'static Template> {
    one_of(|_| true)
}

/// One of those that are their function and no more.
pub(super) fn template_of_functions() -> impl TypedValueParser<Value = &'static Template> {
    one_of(Template::is_one_function)
}

fn one_of(which: fn(&Template) -> bool) -> impl TypedValueParser<Value = &'static Template> {
    let names = TEMPLATES.iter().filter(|template| which(template));
    let names = names.map(|template| PossibleValue::new(template.name).help(template.what));
    PossibleValuesParser::new(names)
        .map(|name| Template::find(&name).expect("the parser has the names of the table"))
}

/// A template, for programs.
#[derive(Debug, Serialize)]
struct Listed {
    event: &'static str,
    name: &'static str,
    what: &'static str,
    files: Vec<String>,
}

/// Makes a project and says what to do next, or shows what could be made.
pub fn run(new: &New, reporter: &Reporter) -> Exit {
    match &new.path {
        Some(path) => make(path, new.template, reporter),
        None => list(reporter).err().unwrap_or(Exit::Done),
    }
}

fn list(reporter: &Reporter) -> Result<(), Exit> {
    if reporter.options().format == Format::Json {
        let listed = TEMPLATES.iter().map(|template| Listed {
            event: "template",
            name: template.name,
            what: template.what,
            files: template.files(),
        });
        return output::json(listed, reporter);
    }
    let all = TEMPLATES.iter().map(Template::files);
    let (first, rest): (Vec<_>, Vec<_>) = all.enumerate().partition(|(n, _)| *n == 0);
    let everywhere = |file: &String| rest.iter().all(|(_, files)| files.contains(file));
    let mut common: Vec<String> = first.into_iter().flat_map(|(_, files)| files).collect();
    common.retain(everywhere);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut print = || {
        for template in &TEMPLATES {
            let usual = match std::ptr::eq(template, Template::usual()) {
                true => " [default]",
                false => "",
            };
            let mut files = template.files();
            files.retain(|file| !common.contains(file));
            writeln!(out, "{:<11}{}{usual}", template.name, template.what)?;
            writeln!(out, "{:<11}{}", "", files.join(", "))?;
        }
        writeln!(out, "\nEach has {} as well", common.join(", "))?;
        out.flush()
    };
    let printed = print();
    output::done(printed, reporter)
}

fn make(path: &Path, template: &Template, reporter: &Reporter) -> Exit {
    match scaffold::new(path, template) {
        Ok(created) => {
            let folder = context::shown(&created.folder);
            let enter = if folder.is_empty() {
                String::new()
            } else {
                format!("cd {} && ", typed(&folder))
            };
            let place = if folder.is_empty() {
                "this folder".to_owned()
            } else {
                format!("`{folder}`")
            };
            let Template { start, then, .. } = template;
            reporter.info(format!(
                "made the project `{}` in {place}\n\n  {enter}{start}\n\n{then}",
                created.name
            ));
            Exit::Done
        }
        Err(error) => {
            reporter.error(error.to_string());
            Exit::Failed
        }
    }
}
