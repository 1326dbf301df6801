//! The secrets that a running master gives to its functions. A thread looks at the file a few times
//! in a second, and a change is there for the next invocation; those that run keep what they have,
//! and output is masked for as long as they do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::mask::Masker;
use super::vault::Stamp;
use super::{Masks, Secret, Vault};

/// How often the file is looked at: one call of the system. A change takes effect within a second.
const LOOK: Duration = Duration::from_millis(250);

/// After the last invocation that had a value has ended, that value is still masked so long: access
/// lines, and lines that wait, come after the end.
const LINGER: Duration = Duration::from_secs(60);

/// What a project file asks for: the names that functions list, and what the environment has for
/// them, which counts where the file has nothing.
pub type Given = BTreeMap<String, Option<Secret>>;

/// What one invocation gets, for as long as it holds this.
#[derive(Debug)]
pub struct Handed(BTreeMap<String, Secret>);

impl Handed {
    /// A secret.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }
}

/// The secrets of a master.
#[derive(Debug)]
pub struct Secrets {
    shared: Arc<Shared>,
    /// The thread that looks ends when this goes.
    looks: Mutex<Option<mpsc::Sender<()>>>,
}

/// Where news of the file is told.
type Say = Box<dyn Fn(String) + Send + Sync>;

struct Shared {
    vault: Vault,
    masks: Arc<Masks>,
    say: Say,
    /// Held while values change, so that nobody gets one that is not masked yet.
    changing: Mutex<Changing>,
    now: Mutex<Arc<Handed>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Changing {
    /// What is served, and what is about to be.
    given: Given,
    next: Option<Given>,
    /// What the file had when it was read last.
    stored: BTreeMap<String, Secret>,
    read: Option<Option<Stamp>>,
    /// What was given out before, and since when nobody has it any more.
    before: Vec<(Arc<Handed>, Option<Instant>)>,
}

impl Secrets {
    /// Nothing is given out yet. `say` tells the operator.
    pub fn new(
        vault: Vault,
        masks: Arc<Masks>,
        say: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                vault,
                masks,
                say: Box::new(say),
                changing: Mutex::default(),
                now: Mutex::new(Arc::new(Handed(BTreeMap::new()))),
            }),
            looks: Mutex::default(),
        }
    }

    /// A project is about to be built and served: its secrets are masked from now on, and those that
    /// are served stay as they are. Reads the file.
    pub fn prepare(&self, given: Given) {
        let mut changing = self.shared.changing();
        changing.next = Some(given);
        self.shared.look(&mut changing);
        self.shared.update(&mut changing);
    }

    /// The project that was prepared is served from now on.
    pub fn apply(&self) {
        let mut changing = self.shared.changing();
        if let Some(given) = changing.next.take() {
            changing.given = given;
        }
        self.shared.update(&mut changing);
        let any = !changing.given.is_empty();
        drop(changing);
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if any && looks.is_none() {
            let (sender, end) = mpsc::channel();
            let shared = Arc::downgrade(&self.shared);
            let started = thread::Builder::new()
                .name("secrets".to_owned())
                .spawn(move || follow(&shared, &end));
            match started {
                Ok(_) => *looks = Some(sender),
                Err(error) => (self.shared.say)(format!(
                    "secrets that change are not seen until a reload: cannot start a thread: {error}"
                )),
            }
        }
    }

    /// What an invocation gets that may have these; `None` for nothing.
    ///
    /// # Errors
    /// The first of the names for which there is no value.
    pub fn hand<'n>(&self, names: &'n BTreeSet<String>) -> Result<Option<Arc<Handed>>, &'n str> {
        if names.is_empty() {
            return Ok(None);
        }
        let now = self.shared.now();
        match names.iter().find(|name| now.get(name).is_none()) {
            Some(missing) => Err(missing),
            None => Ok(Some(Arc::clone(&now))),
        }
    }
}

/// Until the master ends.
fn follow(shared: &Weak<Shared>, end: &mpsc::Receiver<()>) {
    // Otherwise it may be woken at the end of each process, only to wake another thread.
    let _ = embly_wrapper::process::block_child_signals();
    while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let mut changing = shared.changing();
        if shared.look(&mut changing) || changing.forget(Instant::now()) {
            shared.update(&mut changing);
        }
    }
}

impl Shared {
    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> MutexGuard<'_, Arc<Handed>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file if it has changed; whether it has. What cannot be read changes nothing.
    fn look(&self, changing: &mut Changing) -> bool {
        let stamp = self.vault.stamp();
        if changing.read == Some(stamp) {
            return false;
        }
        changing.read = Some(stamp);
        match self.vault.read() {
            Ok(stored) => {
                let values = stored.into_iter().map(|(name, entry)| (name, entry.value));
                changing.stored = values.collect();
                true
            }
            Err(error) => {
                let wanted = changing.given.len() + changing.next.as_ref().map_or(0, Given::len);
                if wanted > 0 {
                    (self.say)(format!("{error}; secrets stay as they were"));
                }
                false
            }
        }
    }

    /// Gives out what is there now, and masks it first.
    fn update(&self, changing: &mut Changing) {
        let now = Arc::clone(&self.now());
        let new = changing.values();
        let replaced = new.0 != now.0;
        let names = changing
            .given
            .keys()
            .chain(changing.next.iter().flat_map(Given::keys));
        let gone: Vec<String> = names
            .filter(|name| now.get(name).is_some() && new.get(name).is_none())
            .cloned()
            .collect();
        if replaced {
            changing.before.push((now, None));
        }
        let before = changing.before.iter().map(|(handed, _)| &handed.0);
        let all = std::iter::once(&new.0).chain(before).flatten();
        match Masker::new(all.map(|(name, secret)| (&**name, secret))) {
            Ok(masker) => self.masks.set(masker),
            // Not given out either.
            Err(error) => {
                (self.say)(format!(
                    "secrets stay as they were, they cannot be masked: {error}"
                ));
                return;
            }
        }
        if replaced {
            *self.now() = Arc::new(new);
        }
        for name in gone {
            (self.say)(format!(
                "the secret `{name}` is gone, functions that list it are not started: {}",
                super::advice(&name, "")
            ));
        }
    }
}

impl Changing {
    fn values(&self) -> Handed {
        let next = self.next.as_ref();
        let names = self
            .given
            .keys()
            .chain(next.into_iter().flat_map(Given::keys));
        let value = |name: &String| {
            // What is served counts as long as it is.
            let served = self.given.get(name).and_then(Option::as_ref);
            let next = next
                .and_then(|next| next.get(name))
                .and_then(Option::as_ref);
            let value = self.stored.get(name).or(served).or(next)?;
            Some((name.clone(), value.clone()))
        };
        Handed(names.filter_map(value).collect())
    }

    /// Forgets what nobody has had for a while; whether there was such.
    fn forget(&mut self, now: Instant) -> bool {
        let before = self.before.len();
        self.before.retain_mut(|(handed, since)| {
            if Arc::strong_count(handed) > 1 {
                return true;
            }
            now.duration_since(*since.get_or_insert(now)) < LINGER
        });
        self.before.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{Entry, Stored};

    fn secret(value: &str) -> Secret {
        Secret::new(value.to_owned()).unwrap()
    }

    struct Place {
        _folder: tempfile::TempDir,
        vault: Vault,
        masks: Arc<Masks>,
        secrets: Secrets,
        said: Arc<Mutex<Vec<String>>>,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let vault = Vault::with_key(&folder.path().join("data"), Some(key));
        let (masks, said) = (Arc::new(Masks::default()), Arc::new(Mutex::new(Vec::new())));
        let to = Arc::clone(&said);
        let say = move |text| to.lock().unwrap().push(text);
        let secrets = Secrets::new(vault.clone(), Arc::clone(&masks), say);
        Place {
            _folder: folder,
            vault,
            masks,
            secrets,
            said,
        }
    }

    impl Place {
        fn set(&self, name: &str, value: Option<&str>) {
            let change = |all: &mut Stored| match value {
                Some(value) => {
                    let value = secret(value);
                    drop(all.insert(name.to_owned(), Entry { value, set: 0 }));
                }
                None => drop(all.remove(name)),
            };
            self.vault.change(change).unwrap();
        }

        fn serve(&self, given: &[(&str, Option<&str>)]) {
            let given = given
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.map(secret)));
            self.secrets.prepare(given.collect());
            self.secrets.apply();
        }

        fn look(&self) {
            let mut changing = self.secrets.shared.changing();
            if self.secrets.shared.look(&mut changing) {
                self.secrets.shared.update(&mut changing);
            }
        }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_file_wins_over_the_environment_and_what_has_neither_is_missing() {
        let place = place();
        place.set("A", Some("from the file"));
        place.serve(&[
            ("A", Some("environment")),
            ("B", Some("environment")),
            ("C", None),
        ]);
        let handed = place.secrets.hand(&names(&["A", "B"])).unwrap().unwrap();
        assert_eq!(handed.get("A").unwrap().expose(), "from the file");
        assert_eq!(handed.get("B").unwrap().expose(), "environment");
        assert_eq!(place.secrets.hand(&names(&["A", "C"])).unwrap_err(), "C");
        assert!(place.secrets.hand(&names(&[])).unwrap().is_none());
        // What nobody lists is given to nobody.
        place.set("D", Some("unlisted"));
        place.look();
        assert_eq!(place.secrets.hand(&names(&["D"])).unwrap_err(), "D");
        assert_eq!(place.masks.mask("unlisted"), "unlisted");
    }

    #[test]
    fn an_old_value_is_masked_as_long_as_somebody_has_it_and_a_while_longer() {
        let place = place();
        place.set("A", Some("the old one"));
        place.serve(&[("A", None)]);
        let runs = place.secrets.hand(&names(&["A"])).unwrap().unwrap();
        place.set("A", Some("the new one"));
        place.look();
        assert_eq!(runs.get("A").unwrap().expose(), "the old one");
        let next = place.secrets.hand(&names(&["A"])).unwrap().unwrap();
        assert_eq!(next.get("A").unwrap().expose(), "the new one");
        assert_eq!(
            place.masks.mask("the old one, the new one"),
            "[secret A], [secret A]"
        );
        let mut changing = place.secrets.shared.changing();
        let later = Instant::now() + 10 * LINGER;
        changing.forget(later);
        assert!(
            changing
                .before
                .iter()
                .any(|(handed, _)| Arc::ptr_eq(handed, &runs))
        );
        drop(runs);
        assert!(!changing.forget(later));
        assert!(changing.forget(later + LINGER));
        place.secrets.shared.update(&mut changing);
        assert_eq!(
            place.masks.mask("the old one, the new one"),
            "the old one, [secret A]"
        );
    }

    #[test]
    fn what_is_about_to_be_served_is_masked_before_it_is_given_to_anybody() {
        let place = place();
        place.serve(&[("A", Some("served"))]);
        let next = Given::from([
            ("A".to_owned(), Some(secret("next"))),
            ("B".to_owned(), Some(secret("other"))),
        ]);
        place.secrets.prepare(next);
        assert_eq!(place.masks.mask("served other"), "[secret A] [secret B]");
        let handed = place.secrets.hand(&names(&["A"])).unwrap().unwrap();
        assert_eq!(handed.get("A").unwrap().expose(), "served");
        place.secrets.apply();
        let handed = place.secrets.hand(&names(&["A"])).unwrap().unwrap();
        assert_eq!(handed.get("A").unwrap().expose(), "next");
        assert_eq!(place.masks.mask("next"), "[secret A]");
    }

    #[test]
    fn a_file_that_cannot_be_read_any_more_changes_nothing_and_is_told_once() {
        let place = place();
        place.set("A", Some("value"));
        place.serve(&[("A", None)]);
        std::fs::write(place.vault.path(), "broken").unwrap();
        place.look();
        place.look();
        let said = place.said.lock().unwrap().clone();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].ends_with("; secrets stay as they were"), "{said:?}");
        assert!(place.secrets.hand(&names(&["A"])).is_ok());
    }

    #[test]
    fn a_secret_that_is_removed_is_missing_from_then_on_and_the_operator_is_told() {
        let place = place();
        place.set("A", Some("value"));
        place.serve(&[("A", None)]);
        place.set("A", None);
        place.look();
        assert_eq!(place.secrets.hand(&names(&["A"])).unwrap_err(), "A");
        let said = place.said.lock().unwrap().clone();
        assert!(said[0].contains("`embly secrets set A`"), "{said:?}");
    }
}
