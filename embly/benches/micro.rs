//! The parts that every request passes, one by one: `cargo xtask bench micro [FILTER]`.
//!
//! Times are of one operation, as is the memory that it asks for.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use divan::{AllocProfiler, Bencher, black_box, counter::BytesCount};
use embly::allow::Allow;
use embly::router::{Budget, Router, SpawnLimits};
use protos::{Address, Body, Message};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Payloads, in bytes: a message, a request, half of what is read at once, the largest frame.
const SIZES: [usize; 4] = [16, 1024, 32 * 1024, 256 * 1024];

fn main() {
    // The clock takes about as long as one operation.
    divan::Divan::default()
        .sample_size(100)
        .config_with_args()
        .main();
}

fn address(number: u64) -> Address {
    Address::new(number).unwrap()
}

fn message(body: Body) -> Message {
    Message {
        to: Some(address(u64::MAX)),
        from: Some(address(u64::MAX - 1)),
        body,
    }
}

/// Messages to bytes and back.
mod frame {
    use super::*;
    use protos::{PROTOCOL_VERSION, Startup, frame};

    fn startup() -> Message {
        message(Body::Startup {
            address: address(1),
            parent: address(2),
            startup: Box::new(Startup {
                version: PROTOCOL_VERSION,
                args: vec!["hello".to_owned()],
                env: vec!["KEY=value".to_owned()],
                limits: Some(protos::Limits {
                    memory: 128 << 20,
                    cpu: 10_000_000,
                    cpu_window: 60_000_000,
                    children: 64,
                    depth_left: 16,
                    window: 256 << 10,
                    log_lines: 1000,
                    log_line: 16 << 10,
                    ..protos::Limits::default()
                }),
                ..Startup::default()
            }),
        })
    }

    /// Into a buffer that is kept, as master and wrapper do.
    fn encode(bencher: Bencher, message: Message) {
        let mut out = BytesMut::with_capacity(512 << 10);
        bencher
            .with_inputs(|| message.clone())
            .bench_local_values(|message| {
                out.clear();
                frame::encode(message, &mut out).unwrap();
            });
    }

    fn decode(bencher: Bencher, message: Message) {
        let mut bytes = BytesMut::new();
        frame::encode(message, &mut bytes).unwrap();
        bencher
            .with_inputs(|| bytes.clone())
            .bench_values(|mut bytes| frame::decode(&mut bytes).unwrap().unwrap());
    }

    #[divan::bench(args = SIZES)]
    fn encode_data(bencher: Bencher, bytes: usize) {
        let bencher = bencher.counter(BytesCount::new(bytes));
        encode(bencher, message(Body::Data(vec![1; bytes].into())));
    }

    #[divan::bench(args = SIZES)]
    fn decode_data(bencher: Bencher, bytes: usize) {
        let bencher = bencher.counter(BytesCount::new(bytes));
        decode(bencher, message(Body::Data(vec![1; bytes].into())));
    }

    #[divan::bench]
    fn encode_credit(bencher: Bencher) {
        encode(bencher, message(Body::Credit(65_536)));
    }

    #[divan::bench]
    fn decode_credit(bencher: Bencher) {
        decode(bencher, message(Body::Credit(65_536)));
    }

    #[divan::bench]
    fn encode_startup(bencher: Bencher) {
        encode(bencher, startup());
    }

    #[divan::bench]
    fn decode_startup(bencher: Bencher) {
        decode(bencher, startup());
    }
}

/// Who may say what to whom, with a thousand other requests in the table.
mod routing {
    use super::*;
    use protos::Ending;

    const LIMITS: SpawnLimits = SpawnLimits {
        children: Some(64),
        depth: Some(16),
        tree: Some(1000),
        window: 256 << 10,
    };

    const OTHERS: u64 = 1000;

    /// Scattered, as random ones are, and never those of others.
    fn spread(number: u64) -> Address {
        address(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn open(router: &mut Router, request: u64) -> (Address, Address) {
        let (gate, invocation) = (spread(2 * request + 1), spread(2 * request + 2));
        router.open(gate, invocation, LIMITS).unwrap();
        router.introduce(invocation, &Arc::from("hello"), &Arc::new(Allow::default()));
        router.started(invocation);
        (gate, invocation)
    }

    fn busy() -> Router {
        let mut router = Router::new(Budget::new(u64::MAX));
        for request in 1..=OTHERS {
            open(&mut router, request);
        }
        router
    }

    #[divan::bench]
    fn open_and_end(bencher: Bencher) {
        let mut router = busy();
        let mut effects = Vec::new();
        let mut request = OTHERS;
        bencher.bench_local(|| {
            request += 1;
            let (gate, invocation) = open(&mut router, request);
            router.ended(invocation, &Ending::exit(0), &mut effects);
            router.close_gate(gate, Ending::exit(0), &mut effects);
            effects.clear();
        });
    }

    /// A frame, and the report that it was taken.
    #[divan::bench]
    fn data_and_credit(bencher: Bencher) {
        let mut router = busy();
        let (gate, invocation) = open(&mut router, OTHERS + 1);
        let data = Bytes::from(vec![1; 4096]);
        let mut effects = Vec::new();
        bencher.bench_local(|| {
            let frame = Message {
                to: Some(gate),
                from: Some(invocation),
                body: Body::Data(data.clone()),
            };
            router.wrapper_says(invocation, black_box(frame), &mut effects);
            router.taken(gate, Some(invocation), 4096, &mut effects);
            black_box(&effects);
            effects.clear();
        });
    }

    /// A child is asked for, comes, and ends.
    #[divan::bench]
    fn spawn_and_end(bencher: Bencher) {
        let mut router = busy();
        let (_, parent) = open(&mut router, OTHERS + 1);
        let mut effects = Vec::new();
        let mut number = 2 * OTHERS + 10;
        bencher.bench_local(|| {
            number += 1;
            let child = spread(number);
            let spawn = Message {
                to: None,
                from: Some(parent),
                body: Body::Spawn {
                    name: "hello".to_owned(),
                    address: child,
                    options: None,
                },
            };
            router.wrapper_says(parent, spawn, &mut effects);
            router.set_limits(child, LIMITS);
            router.started(child);
            router.ended(child, &Ending::exit(0), &mut effects);
            black_box(&effects);
            effects.clear();
        });
    }
}

/// Between HTTP and the bytes of a function.
mod http {
    use super::*;
    use ::http::Request;
    use embly::gateway::http::head::{self, RequestBody};

    /// What a browser says.
    fn request() -> Request<()> {
        Request::post("/search?q=embly&page=2")
            .header("host", "example.org")
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)")
            .header("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
            .header("accept-language", "en-US,en;q=0.5")
            .header("accept-encoding", "gzip, deflate, br")
            .header("connection", "keep-alive")
            .header("cookie", "session=0123456789abcdef0123456789abcdef")
            .header("content-type", "application/json")
            .body(())
            .unwrap()
    }

    #[divan::bench]
    fn request_head_to_bytes(bencher: Bencher) {
        let request = request();
        let id = "0190a0b0-c0d0-7000-8000-000000000000";
        let told = [("x-request-id".to_owned(), id.to_owned())];
        bencher.bench_local(|| head::request(black_box(&request), RequestBody::Length(100), &told));
    }

    #[divan::bench]
    fn request_size(bencher: Bencher) {
        let request = request();
        bencher.bench_local(|| head::size(black_box(&request)));
    }

    fn response(bencher: Bencher, bytes: &[u8]) {
        let bytes = BytesMut::from(bytes);
        bencher
            .with_inputs(|| bytes.clone())
            .bench_values(|mut bytes| head::response(&mut bytes, false).unwrap().unwrap());
    }

    #[divan::bench]
    fn short_response_head(bencher: Bencher) {
        response(
            bencher,
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        );
    }

    #[divan::bench]
    fn response_head_of_eight(bencher: Bencher) {
        response(
            bencher,
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n\
              cache-control: no-cache\r\netag: \"0123456789abcdef\"\r\nvary: accept-encoding\r\n\
              set-cookie: session=0123456789abcdef; Path=/; HttpOnly\r\nconnection: keep-alive\r\n\
              x-frame-options: DENY\r\ntransfer-encoding: chunked\r\n\r\n",
        );
    }
}

/// How many wrappers wait.
mod pool {
    use super::*;
    use embly::limits::Parked;
    use embly::pool::demand::{Demand, keep};

    /// One is taken, and somebody looks how many to keep.
    #[divan::bench]
    fn demand(bencher: Bencher) {
        let parked = Parked {
            min: 1,
            max: 64,
            after: Some(Duration::from_secs(60)),
        };
        let mut now = Instant::now();
        let mut demand = Demand::new(now);
        bencher.bench_local(|| {
            now += Duration::from_micros(100);
            demand.take(now);
            keep(demand.largest(now), Duration::ZERO, black_box(&parked))
        });
    }
}
