//! The names that an invocation has asked for, and what came of it. No I/O.

use std::collections::BTreeMap;

use protos::Errno;

/// So many names can be held or asked for at once: more than a project has, and a guest that asks
/// for any number of them fills no memory but its own.
pub const MAX_NAMES: usize = 64;

/// Each name with its answer; `None` while it is on the way.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, Option<Result<(), Errno>>>);

/// What [`Names::register`] comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// The master is to be asked.
    Now,
    /// It was asked, and has not answered.
    Waits,
    /// It has answered.
    Answered(Result<(), Errno>),
}

impl Names {
    /// Asks for a name. A refusal is told once: after it the master is asked again.
    pub fn register(&mut self, name: &str) -> Ask {
        match self.0.get(name) {
            None => {
                if self.0.len() >= MAX_NAMES {
                    // A refusal that was not asked for again is forgotten.
                    self.0.retain(|_, answer| !matches!(answer, Some(Err(_))));
                }
                if self.0.len() >= MAX_NAMES {
                    return Ask::Answered(Err(Errno::AGAIN));
                }
                self.0.insert(name.to_owned(), None);
                Ask::Now
            }
            Some(None) => Ask::Waits,
            Some(Some(answer)) => {
                let answer = *answer;
                if answer.is_err() {
                    self.0.remove(name);
                }
                Ask::Answered(answer)
            }
        }
    }

    /// Takes in an answer of the master.
    pub fn answered(&mut self, name: String, error: Errno) {
        let answer = match error {
            Errno::SUCCESS => Ok(()),
            error => Err(error),
        };
        // One that was given back meanwhile is not held.
        if let Some(place) = self.0.get_mut(&name) {
            *place = Some(answer);
        }
    }

    /// Gives a name back.
    ///
    /// # Errors
    /// ENOENT for one that is not held, EAGAIN for one whose answer is on the way.
    pub fn release(&mut self, name: &str) -> Result<(), Errno> {
        match self.0.get(name) {
            Some(None) => Err(Errno::AGAIN),
            Some(Some(Ok(()))) => {
                self.0.remove(name);
                Ok(())
            }
            Some(Some(Err(_))) | None => Err(Errno::NOENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_once_and_a_refusal_told_once() {
        let mut names = Names::default();
        assert_eq!(names.register("a"), Ask::Now);
        assert_eq!(names.register("a"), Ask::Waits);
        assert_eq!(names.release("a"), Err(Errno::AGAIN));
        names.answered("a".to_owned(), Errno::EXIST);
        assert_eq!(names.release("a"), Err(Errno::NOENT));
        assert_eq!(names.register("a"), Ask::Answered(Err(Errno::EXIST)));
        assert_eq!(names.register("a"), Ask::Now);
        names.answered("a".to_owned(), Errno::SUCCESS);
        assert_eq!(names.register("a"), Ask::Answered(Ok(())));
        assert_eq!(names.register("a"), Ask::Answered(Ok(())));
        assert_eq!(names.release("a"), Ok(()));
        assert_eq!(names.release("a"), Err(Errno::NOENT));
    }

    #[test]
    fn no_more_names_are_kept_than_a_project_can_need() {
        let mut names = Names::default();
        for n in 0..MAX_NAMES {
            assert_eq!(names.register(&format!("a{n}")), Ask::Now);
        }
        assert_eq!(names.register("b"), Ask::Answered(Err(Errno::AGAIN)));
        names.answered("a0".to_owned(), Errno::EXIST);
        assert_eq!(names.register("b"), Ask::Now);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_means_nothing() {
        let mut names = Names::default();
        names.answered("a".to_owned(), Errno::SUCCESS);
        assert_eq!(names.release("a"), Err(Errno::NOENT));
    }
}
