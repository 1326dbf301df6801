//! Embly beside others, in one run and in turns, and Embly under loads of all sizes: `cargo xtask
//! bench compare`, `curve`, `overload`, `gateways`.
//!
//! What is measured is the executable of this build, started as anybody starts it, and the other
//! systems as programs of their own. The clients have one thread, on the same machine.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

mod bare;
mod chart;
mod cold;
mod compare;
mod curve;
mod floors;
mod gateways;
mod load;
mod machine;
mod meter;
mod overload;
mod report;
mod systems;
mod tenfold;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Cargo says so to every benchmark.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// All systems, in turns: about a minute for each round.
    Compare {
        #[arg(default_value_t = 5)]
        rounds: usize,
        /// Writes the values of all rounds there.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Embly with few and many connections, small and large bodies; draws `docs/benchmarks.svg`.
    Curve,
    /// Files beside nginx, TLS beside hyper and rustls, a thousand routes beside none.
    Gateways {
        #[arg(default_value_t = 5)]
        rounds: usize,
    },
    /// Embly with up to four times the requests that it can answer.
    Overload,
    /// Embly with ten times the requests that it can answer, and after that: a part of `cargo xtask
    /// soak`.
    Tenfold {
        /// How long each of the three times, with each isolation.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Over so many connections.
        #[arg(long, default_value_t = 1024)]
        connections: u32,
        /// Writes all values there.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Plays the server that Embly's TLS is measured beside.
    #[command(hide = true)]
    Bare {
        certificate: PathBuf,
        key: PathBuf,
        plain: SocketAddr,
        secure: SocketAddr,
        bodies: Vec<usize>,
    },
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    match arguments.what {
        What::Compare { rounds, json } => {
            compare::run(&runtime, folder.path(), rounds, json.as_deref());
        }
        What::Curve => curve::run(&runtime, folder.path()),
        What::Gateways { rounds } => gateways::run(&runtime, folder.path(), rounds),
        What::Bare {
            certificate,
            key,
            plain,
            secure,
            bodies,
        } => bare::serve(&runtime, (&certificate, &key), [plain, secure], &bodies),
        What::Tenfold {
            seconds,
            connections,
            json,
        } => {
            let time = std::time::Duration::from_secs(seconds);
            tenfold::run(&runtime, folder.path(), time, connections, json.as_deref());
        }
        What::Overload => overload::run(&runtime, folder.path()),
    }
}
