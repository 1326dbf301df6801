//! The first request of a function that nobody has called for long: no wrapper waits, its fork
//! server has ended.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::load::{Client, Exchange, answered};
use crate::systems::{Function, Isolation, System, embly};

/// Functions that are put away together and then called, one after the other.
const FUNCTIONS: usize = 20;

/// The shortest that `after` is looked at.
const KEYS: &str = "parked: {after: 1s}";

/// Longer than it takes to put them away.
const PUT_AWAY: Duration = Duration::from_secs(30);

/// Embly with functions of one isolation, all scaled to zero.
pub struct Cold {
    system: System,
    /// In milliseconds.
    pub times: Vec<f64>,
    pub errors: u64,
}

impl Cold {
    pub fn new(folder: &Path, isolation: Isolation) -> Self {
        let functions: Vec<_> = (0..FUNCTIONS)
            .map(|_| Function {
                keys: KEYS,
                ..Function::hello(isolation)
            })
            .collect();
        let folder = folder.join(format!("cold-{}", isolation.key()));
        Self {
            system: embly(&folder, isolation, &functions).unwrap(),
            times: Vec::new(),
            errors: 0,
        }
    }

    /// Whose measurement it is.
    pub fn id(&self) -> &'static str {
        self.system.id
    }

    /// The first request of each function.
    pub fn measure(&mut self, runtime: &Runtime) {
        self.system.start().unwrap();
        runtime.block_on(async {
            let hello = Exchange::hello();
            answered(self.system.at[0], &hello).await.unwrap();
            let since = Instant::now();
            while self.system.children() > 0 {
                assert!(since.elapsed() < PUT_AWAY, "nothing is put away");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            for at in &self.system.at {
                let mut client = Client::new(*at);
                client.connect(&hello).await.unwrap();
                let began = Instant::now();
                if client.ask(&hello).await {
                    self.times.push(began.elapsed().as_secs_f64() * 1e3);
                } else {
                    self.errors += 1;
                }
            }
        });
    }

    /// The time that so many of a hundred do not exceed, in milliseconds.
    pub fn percentile(&self, of: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        let last = times.len().saturating_sub(1);
        let at = (times.len() as f64 * of / 100.0) as usize;
        times.get(at.min(last)).copied().unwrap_or(f64::NAN)
    }
}
