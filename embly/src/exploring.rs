//! How much of what can happen is tried in a test that explores: some hundreds of sequences in each run,
//! and as many as `EMBLY_EXPLORE` says.

/// Sequences that are tried where nobody says how many.
const CASES: u32 = 500;

/// How many sequences to try.
pub fn cases() -> u32 {
    let wanted = std::env::var("EMBLY_EXPLORE").ok();
    wanted.map_or(CASES, |wanted| {
        wanted.parse().expect("a number in EMBLY_EXPLORE")
    })
}
