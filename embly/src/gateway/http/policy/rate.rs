//! `rate`: how often a client may ask. Each address is counted by itself, of IPv6 each /64, which is
//! what one household or one machine has.
//!
//! Memory is bounded: at most [`CLIENTS`] are counted by themselves. Those whose bucket is full again
//! are forgotten when there is no room; clients beyond are counted together, in [`GROUPS`] groups that
//! nobody can foretell, until there is room again. So a flood from many addresses limits some others
//! early, and never lets anybody through that is counted already.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::config::Rate;

/// Clients that are counted by themselves: about 3 MB.
const CLIENTS: usize = 1 << 16;

/// Groups for all others: 64 KiB.
const GROUPS: usize = 1 << 12;

/// Looking for those that can be forgotten takes a millisecond, so it is not done for each request.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Counts the requests of one place in the project file.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    /// Made when it is first needed, or taken over from before a reload.
    state: OnceLock<Arc<State>>,
}

#[derive(Debug)]
struct State {
    counts: RateLimiter<Client, Store, DefaultClock>,
    room: Arc<Room>,
}

/// Whether there is room for more clients, as far as it is known.
#[derive(Debug, Default)]
struct Room {
    full: AtomicBool,
    swept: Mutex<Option<Instant>>,
}

impl Room {
    /// Whether to look for those that can be forgotten. Who asks then does so.
    fn sweep_is_due(&self) -> bool {
        if !self.full.load(Ordering::Relaxed) {
            return false;
        }
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let due = swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY);
        if due {
            *swept = Some(Instant::now());
        }
        due
    }
}

/// What is counted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// An address.
    V4(u32),
    /// The first half of an address.
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(four) => Self::V4(four.to_bits()),
            IpAddr::V6(six) => Self::V6((six.to_bits() >> 64) as u64),
        }
    }
}

impl Limiter {
    /// Nobody has asked yet.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            state: OnceLock::new(),
        }
    }

    /// Goes on where the one of before a reload is, if that had the same rate and nobody was counted
    /// here yet.
    pub fn go_on(&self, before: &Self) {
        if self.rate == before.rate {
            // Lost only if somebody asked first, who then begins anew.
            let _ = self.state.set(Arc::clone(before.state()));
        }
    }

    fn state(&self) -> &Arc<State> {
        self.state.get_or_init(|| {
            let every = self.rate.per / self.rate.requests.get();
            // Of a rate over a billion a second nothing is left, and it limits nobody.
            let quota = Quota::with_period(every.max(Duration::from_nanos(1)));
            let quota = quota.expect("the period is not zero");
            let quota = quota.allow_burst(self.rate.burst);
            let room = Arc::<Room>::default();
            let store = Store::new(CLIENTS, Arc::clone(&room));
            let counts = RateLimiter::new(quota, store, DefaultClock::default());
            Arc::new(State { counts, room })
        })
    }

    /// Counts a request.
    ///
    /// # Errors
    /// It is one too many: so many seconds later it would not be.
    pub fn check(&self, address: IpAddr) -> Result<(), u64> {
        let State { counts, room } = &**self.state();
        if room.sweep_is_due() {
            counts.retain_recent();
        }
        counts.check_key(&address.into()).map_err(|until| {
            let wait = until.wait_time_from(counts.clock().now());
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
        })
    }
}

/// When each client's bucket is full again.
#[derive(Debug)]
struct Store {
    table: Mutex<Table>,
    most: usize,
    room: Arc<Room>,
    random: RandomState,
}

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<Client, Nanos>,
    groups: Vec<Option<Nanos>>,
}

impl Store {
    fn new(most: usize, room: Arc<Room>) -> Self {
        Self {
            table: Mutex::default(),
            most,
            room,
            random: RandomState::new(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that is done with it panics half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Store {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut table = self.table();
        let known = table.clients.contains_key(client);
        let Table { clients, groups } = &mut *table;
        if known || clients.len() < self.most {
            let (decision, next) = decide(clients.get(client).copied())?;
            clients.insert(*client, next);
            return Ok(decision);
        }
        groups.resize(GROUPS, None);
        let group = (self.random.hash_one(client) % GROUPS as u64) as usize;
        let decided = decide(groups[group]);
        if let Ok((_, next)) = &decided {
            groups[group] = Some(*next);
        }
        self.room.full.store(true, Ordering::Relaxed);
        decided.map(|(decision, _)| decision)
    }
}

impl ShrinkableKeyedStateStore<Client> for Store {
    fn retain_recent(&self, drop_below: Nanos) {
        let mut table = self.table();
        table.clients.retain(|_, next| *next > drop_below);
        self.room.full.store(false, Ordering::Relaxed);
    }

    fn len(&self) -> usize {
        self.table().clients.len()
    }

    fn is_empty(&self) -> bool {
        self.table().clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::clock::FakeRelativeClock;
    use governor::middleware::NoOpMiddleware;

    use super::*;

    #[test]
    fn a_client_is_an_address_of_ipv4_or_half_an_address_of_ipv6() {
        let of = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn many_addresses_take_bounded_memory_and_free_nobody_who_is_counted() {
        let clock = FakeRelativeClock::default();
        let room = Arc::<Room>::default();
        let quota = Quota::per_second(NonZeroU32::new(1).unwrap());
        let limiter: RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
            RateLimiter::new(quota, Store::new(100, Arc::clone(&room)), clock.clone());
        let first = Client::V4(0);
        assert!(limiter.check_key(&first).is_ok());
        for address in 1..100_000 {
            // Through, or stopped with others of its group.
            let _ = limiter.check_key(&Client::V4(address));
        }
        assert!(limiter.check_key(&first).is_err());
        assert!(room.sweep_is_due() && !room.sweep_is_due());
        limiter.retain_recent();
        assert_eq!(limiter.len(), 100, "all are still counted");
        // There were more than groups, so all of them are used up.
        assert!(limiter.check_key(&Client::V4(1_000_000)).is_err());
        clock.advance(Duration::from_secs(3));
        limiter.retain_recent();
        assert!(limiter.is_empty());
        assert!(limiter.check_key(&first).is_ok());
        assert_eq!(limiter.len(), 1);
    }
}
