//! What a spawner asks for beside the name: more arguments, other variables, lower limits.

use std::collections::BTreeMap;

use protos::{SpawnOptions, Startup};

/// What the spawner asked for; limits only lower.
pub fn apply(options: &SpawnOptions, startup: &mut Startup) {
    startup.args.extend(options.args.iter().cloned());
    add_env(&options.env, startup);
    if let (Some(limits), Some(asked)) = (&mut startup.limits, &options.limits) {
        lower(&mut limits.memory, asked.memory);
        lower(&mut limits.cpu, asked.cpu);
        lower(&mut limits.log_lines, asked.log_lines);
        lower(&mut limits.log_line, asked.log_line);
    }
}

/// Variables beside, or instead of, those that are there.
pub fn add_env(more: &[String], startup: &mut Startup) {
    if more.is_empty() {
        return;
    }
    // In one pass: both lists may be long, and nothing else moves meanwhile.
    let own = std::mem::take(&mut startup.env);
    let mut env = BTreeMap::new();
    for variable in own.iter().chain(more) {
        let (key, value) = variable.split_once('=').unwrap_or((variable, ""));
        env.insert(key, value);
    }
    startup.env = env
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
}

/// Adds secrets to the environment. They win, also over what a spawner asks for: a function that
/// lists one gets it and nothing else under that name.
pub fn add_secrets<'s>(
    secrets: impl IntoIterator<Item = (&'s str, &'s str)>,
    startup: &mut Startup,
) {
    let secrets: BTreeMap<&str, &str> = secrets.into_iter().collect();
    startup.env.retain(|variable| {
        let name = variable
            .split_once('=')
            .map_or(&**variable, |(name, _)| name);
        !secrets.contains_key(name)
    });
    let variables = secrets.iter();
    let variables = variables.map(|(name, value)| format!("{name}={value}"));
    startup.env.extend(variables);
}

/// 0 is no limit, on either side.
fn lower<T: Copy + Default + PartialOrd>(limit: &mut T, asked: T) {
    let none = T::default();
    if asked != none && (*limit == none || asked < *limit) {
        *limit = asked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_wins_over_every_variable_of_its_name() {
        let env = [
            "A=1",
            "KEY=of the file",
            "KEY",
            "KEYS=2",
            "KEY=of a spawner",
        ];
        let mut startup = Startup {
            env: env.map(str::to_owned).into(),
            ..Startup::default()
        };
        add_secrets([("KEY", "a=secret")], &mut startup);
        assert_eq!(startup.env, ["A=1", "KEYS=2", "KEY=a=secret"]);
    }

    #[test]
    fn a_spawners_options_add_arguments_replace_variables_and_only_lower_limits() {
        let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let mut startup = Startup {
            args: text(&["f"]),
            env: text(&["A=1", "B=2"]),
            limits: Some(protos::Limits {
                memory: 100,
                cpu: 0,
                ..protos::Limits::default()
            }),
            ..Startup::default()
        };
        let options = SpawnOptions {
            args: text(&["x", "y"]),
            env: text(&["C=4=5", "B=3"]),
            limits: Some(protos::Limits {
                memory: 200,
                cpu: 7,
                ..protos::Limits::default()
            }),
            ..SpawnOptions::default()
        };
        apply(&options, &mut startup);
        assert_eq!(startup.args, ["f", "x", "y"]);
        assert_eq!(startup.env, ["A=1", "B=3", "C=4=5"]);
        let limits = startup.limits.unwrap();
        assert_eq!((limits.memory, limits.cpu), (100, 7));
    }
}
