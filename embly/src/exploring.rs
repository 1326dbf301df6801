//! How much of what can happen is tried in a test that explores: some hundreds of sequences in each run,
//! and as many as `EMBLY_EXPLORE` says.

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Sequences that are tried where nobody says how many.
const CASES: u32 = 500;

/// How many sequences to try.
pub fn cases() -> u32 {
    let wanted = std::env::var("EMBLY_EXPLORE").ok();
    wanted.map_or(CASES, |wanted| {
        wanted.parse().expect("a number in EMBLY_EXPLORE")
    })
}

/// Bytes of a thread's stack.
const STACK: usize = 256 * 1024;

/// So many preemptions find most of what goes wrong between threads.
const PREEMPTIONS: usize = 3;

/// Runs a test with as many schedules of its threads: half of them drawn at each step, half with few
/// preemptions at any place. One that fails is printed, and so is how to repeat it.
pub fn schedules(test: impl Fn() + Send + Sync + 'static) {
    let half = cases().div_ceil(2) as usize;
    let config = || {
        let mut config = Config::new();
        config.stack_size = STACK;
        config
    };
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    Runner::new(RandomScheduler::new(half), config()).run(move || test());
    Runner::new(PctScheduler::new(PREEMPTIONS, half), config()).run(move || again());
}
