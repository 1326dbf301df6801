//! Versions of functions against a simple model: projects come in the three steps that a reload takes, some
//! after a trial, and requests begin and end between any two of them.

use std::sync::Weak;

use proptest::prelude::*;

use super::*;
use crate::exploring::cases;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What a project says of each function: its version, if it has it.
type Versions = [Option<u8>; 4];

#[derive(Debug, Clone)]
enum Step {
    /// The next step of a reload, to this project where none is under way.
    Reload(Versions),
    /// A reload whose project is broken: nothing of it is ever begun.
    Broken,
    /// A project is looked at beside the one that is served.
    Trial(Versions),
    /// A request for the function that the gateway names.
    Begins {
        gateway: usize,
    },
    Ends {
        at: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let version = prop_oneof![1 => Just(None), 3 => (0..3_u8).prop_map(Some)];
    let versions = prop::array::uniform4(version);
    prop_oneof![
        2 => versions.clone().prop_map(Step::Trial),
        6 => versions.prop_map(Step::Reload),
        1 => Just(Step::Broken),
        10 => (0..4_usize).prop_map(|gateway| Step::Begins { gateway }),
        8 => (0..16_usize).prop_map(|at| Step::Ends { at }),
    ]
}

pub(super) fn version(name: &str, version: u8) -> Function {
    let env = BTreeMap::from([("VERSION".to_owned(), version.to_string())]);
    Function::new(
        name,
        PathBuf::new(),
        "_start".to_owned(),
        (env, BTreeSet::new()),
        Limits::default(),
        (Isolation::default(), Parked::of(Isolation::default(), None)),
        Allow::default(),
        Arc::default(),
    )
}

pub(super) fn version_of(function: &Function) -> u8 {
    function.env["VERSION"].parse().unwrap()
}

fn there(versions: Versions) -> impl Iterator<Item = Function> {
    let names = NAMES.iter().zip(versions);
    names.filter_map(|(name, number)| Some(version(name, number?)))
}

#[derive(Default)]
struct Test {
    functions: Functions,
    /// What is served, and what a reload under way goes to, with the steps it has taken.
    served: Versions,
    next: Option<(Versions, u8)>,
    /// What each gateway names: the function of its number, where the project has it.
    gateways: Versions,
    trial: Option<(Versions, Arc<Functions>)>,
    requests: Vec<(Arc<Function>, u8)>,
    /// All versions that there ever were.
    all: Vec<Weak<Function>>,
}

impl Test {
    fn take(&mut self, step: Step) {
        match step {
            Step::Reload(to) => self.reload(to),
            // Everything that can be wrong is found before the first step.
            Step::Broken => {}
            Step::Trial(next) => {
                let trial = self.functions.trial(there(next));
                for name in NAMES {
                    self.knows(trial.get(name));
                }
                self.trial = Some((next, trial));
            }
            Step::Begins { gateway } => {
                let named = self.gateways[gateway];
                let found = self.functions.get(NAMES[gateway]);
                // A gateway never names one that is not there.
                assert!(found.is_some() || named.is_none());
                if let (Some(function), Some(_)) = (found, named) {
                    let is = version_of(&function);
                    assert_eq!(Some(is), self.newest(gateway));
                    self.requests.push((function, is));
                }
            }
            Step::Ends { at } if !self.requests.is_empty() => {
                let at = at % self.requests.len();
                self.requests.remove(at);
            }
            Step::Ends { .. } => {}
        }
        self.look();
    }

    fn newest(&self, at: usize) -> Option<u8> {
        match self.next {
            Some((next, 1..)) => next[at].or(self.served[at]),
            _ => self.served[at],
        }
    }

    fn reload(&mut self, to: Versions) {
        // What was tried is served next, if the trial was of this project.
        let tried = self.trial.as_ref().map(|(tried, _)| *tried);
        let (next, done) = self.next.unwrap_or((tried.unwrap_or(to), 0));
        match done {
            0 => {
                let trial = self.trial.take();
                self.functions.add(there(next));
                for (at, name) in NAMES.iter().enumerate() {
                    let tried = trial.as_ref().and_then(|(_, trial)| trial.get(name));
                    if let Some((tried, version)) = tried.zip(next[at])
                        && version_of(&tried) == version
                    {
                        let served = self.functions.get(name).unwrap();
                        assert!(Arc::ptr_eq(&tried, &served), "it need not start again");
                    }
                }
            }
            1 => self.gateways = next,
            _ => {
                let names = NAMES.iter().zip(next);
                let names = names.filter_map(|(name, version)| version.map(|_| *name));
                let names = names.collect();
                self.functions.keep_only(&names);
                self.functions.announce();
            }
        }
        self.next = (done < 2).then_some((next, done + 1));
        if done == 2 {
            self.served = next;
        }
        for name in NAMES {
            self.knows(self.functions.get(name));
        }
    }

    fn knows(&mut self, function: Option<Arc<Function>>) {
        let Some(function) = function else { return };
        let knows = |weak: &Weak<Function>| weak.as_ptr() == Arc::as_ptr(&function);
        if !self.all.iter().any(knows) {
            self.all.push(Arc::downgrade(&function));
        }
    }

    fn look(&mut self) {
        // Each request has the version that it began with.
        for (function, began_with) in &self.requests {
            assert_eq!(version_of(function), *began_with);
        }
        for (at, name) in NAMES.iter().enumerate() {
            let found = self
                .functions
                .get(name)
                .map(|function| version_of(&function));
            assert_eq!(found, self.newest(at), "{name}");
        }
        // A trial has its own versions, whatever is served meanwhile.
        if let Some((tried, trial)) = &self.trial {
            for (name, version) in NAMES.iter().zip(tried) {
                let found = trial.get(name).map(|function| version_of(&function));
                assert_eq!(found, *version, "{name}");
            }
        }
        // A version lives as long as it is the current one, or on trial, or has a request.
        let trial = self.trial.iter().map(|(_, trial)| &**trial);
        let current: Vec<_> = trial
            .chain([&self.functions])
            .flat_map(|functions| NAMES.map(|name| functions.get(name)))
            .flatten()
            .collect();
        self.all.retain(|weak| weak.strong_count() > 0);
        for weak in &self.all {
            let is = |function: &Arc<Function>| Arc::as_ptr(function) == weak.as_ptr();
            let requested = self.requests.iter().any(|(function, _)| is(function));
            let is_current = current.iter().any(is);
            assert!(requested || is_current, "ended with its last request");
            let closed = !weak.upgrade().unwrap().lot.begin_to_keep();
            // Nothing waits in a version that was replaced. (A current one is asked twice.)
            assert!(closed || is_current);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_keeps_its_version_and_a_replaced_one_ends_with_its_last_request(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut test = Test::default();
        for step in steps {
            test.take(step);
        }
        // What has not changed goes on: its fork server need not start again.
        let before: Vec<_> = NAMES.map(|name| test.functions.get(name)).into();
        let (same, _) = (test.served, test.next.take());
        test.functions.add(there(same));
        for (at, before) in before.iter().enumerate() {
            if let (Some(before), Some(it)) = (before, same[at]) && version_of(before) == it {
                let now = test.functions.get(NAMES[at]).unwrap();
                prop_assert!(Arc::ptr_eq(before, &now));
            }
        }
    }
}
