//! Processors, and who keeps to which.

use std::io;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A set of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus(CpuSet);

impl Cpus {
    /// Those that this thread may use; none where the kernel does not say.
    pub fn here() -> Self {
        Self(sched_getaffinity(None).unwrap_or_default())
    }

    /// How many.
    pub fn count(&self) -> usize {
        usize::try_from(self.0.count()).unwrap_or(0)
    }

    /// The lower and the upper half; the lower has one more where they are odd. `None` with fewer
    /// than two.
    pub fn halves(&self) -> Option<(Self, Self)> {
        let upper_from = self.count().div_ceil(2);
        let (mut lower, mut upper) = (CpuSet::new(), CpuSet::new());
        let mine = (0..CpuSet::MAX_CPU).filter(|cpu| self.0.is_set(*cpu));
        for (index, cpu) in mine.enumerate() {
            let half = if index < upper_from {
                &mut lower
            } else {
                &mut upper
            };
            half.set(cpu);
        }
        (upper.count() > 0).then_some((Self(lower), Self(upper)))
    }
}

/// Keeps a child that was not reaped yet, or a thread of this process, to these processors; `None` is
/// the thread that calls. What it starts inherits it.
///
/// # Errors
/// That of `sched_setaffinity`.
pub fn keep_to(pid: Option<i32>, cpus: &Cpus) -> io::Result<()> {
    let pid = pid.and_then(Pid::from_raw);
    Ok(sched_setaffinity(pid, &cpus.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cpus: &[usize]) -> Cpus {
        let mut set = CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(*cpu));
        Cpus(set)
    }

    #[test]
    fn halves_are_of_those_that_there_are_and_the_lower_has_one_more() {
        assert_eq!(set(&[]).halves(), None);
        assert_eq!(set(&[3]).halves(), None);
        assert_eq!(set(&[0, 1]).halves(), Some((set(&[0]), set(&[1]))));
        let odd = set(&[1, 4, 9, 11, 63]).halves();
        assert_eq!(odd, Some((set(&[1, 4, 9]), set(&[11, 63]))));
    }
}
