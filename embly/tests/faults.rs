//! Processes are killed and stopped at the worst moment.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use support::client::{Response, connect, pause, read_response};
use support::process::{Process, time_until_gone};
use support::{Embly, Project, Session, eventually, get};

/// The promise. It is held against the middle of several attempts: others use the machine as well.
const AT_ONCE: Duration = Duration::from_millis(100);

fn get_meanwhile(at: SocketAddr, path: &'static str) -> JoinHandle<Response> {
    thread::spawn(move || get(at, path))
}

/// A master with `sleeps`, and a request to it that has begun.
fn sleeping(milliseconds: &'static str) -> (Embly, JoinHandle<Response>) {
    let embly = Embly::run(&Project::unparked().guest("sleeps").http("sleeps"));
    let answer = get_meanwhile(embly.at("sleeps"), milliseconds);
    begun(&embly, 1);
    (embly, answer)
}

/// Waits until so many guests have begun.
fn begun(embly: &Embly, count: usize) {
    embly.nth_event("log", count - 1, |event| event["line"] == "begun");
}

fn assert_slept(answer: JoinHandle<Response>) {
    let answer = answer.join().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "slept"));
}

#[test]
fn a_wrapper_that_is_killed_answers_500_within_100_ms() {
    let embly = Embly::run(&Project::unparked().guest("sleeps").http("sleeps"));
    let mut times = Vec::new();
    for attempt in 1..=5 {
        let answer = get_meanwhile(embly.at("sleeps"), "/20000");
        begun(&embly, attempt);
        embly.wrapper("sleeps").signal(Signal::KILL);
        let killed = Instant::now();
        let answer = answer.join().unwrap();
        times.push(killed.elapsed());
        assert_eq!((answer.status, answer.reason()), (500, "killed"));
    }
    times.sort();
    assert!(times[2] < AT_ONCE, "{times:?}");
    assert_eq!(embly.ending("sleeps")["reason"], "killed");
}

#[test]
fn running_requests_outlive_their_fork_server_and_the_next_request_gets_a_new_one() {
    let (embly, answer) = sleeping("/1000");
    let server = embly.fork_server("sleeps");
    server.signal(Signal::KILL);
    let next = get(embly.at("sleeps"), "/0");
    assert_eq!((next.status, next.text().as_str()), (200, "slept"));
    assert_slept(answer);
    assert_ne!(embly.fork_server("sleeps"), server);
}

#[test]
fn nothing_outlives_a_killed_master() {
    let project = Project::unparked()
        .guest("sleeps")
        .guest("chain")
        .guest("link");
    let project = project
        .guest("streams")
        .http("sleeps")
        .http("chain")
        .http("streams");
    let mut embly = Embly::run(&project);
    for path in ["/20000", "/20001"] {
        get_meanwhile(embly.at("sleeps"), path);
    }
    begun(&embly, 2);
    // A fork server without a wrapper, and a stream that goes on.
    assert_eq!(get(embly.at("chain"), "/3").text(), "the end");
    let _client = start_stream(&embly);
    let processes = embly.processes();
    assert!(processes.len() >= 7, "{processes:?}");
    embly.signal(Signal::KILL);
    let time = time_until_gone(&processes);
    assert!(time < Duration::from_secs(1), "{time:?}");
    embly.wait();
}

/// A client of `streams` that has received something.
fn start_stream(embly: &Embly) -> std::net::TcpStream {
    use std::io::{Read, Write};
    let mut client = connect(embly.at("streams"));
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    assert!(client.read(&mut [0; 1000]).unwrap() > 0);
    client
}

#[test]
fn a_killed_client_takes_its_process_with_it() {
    let embly = Embly::run(&Project::unparked().guest("streams").http("streams"));
    let stream = OwnedFd::from(start_stream(&embly));
    // The connection belongs to a process of its own, which is killed.
    let mut client = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::from(stream))
        .spawn()
        .unwrap();
    let wrapper = embly.wrapper("streams");
    client.kill().unwrap();
    client.wait().unwrap();
    let time = time_until_gone(&[wrapper]);
    assert!(time < Duration::from_secs(1), "{time:?}");
    assert_eq!(embly.ending("streams")["reason"], "client_gone");
}

#[test]
fn a_client_that_resets_takes_its_process_with_it_before_and_after_the_head() {
    let embly = Embly::run(
        &Project::unparked()
            .guest("sleeps")
            .guest("goes-quiet")
            .http("sleeps")
            .http("goes-quiet"),
    );
    for function in ["sleeps", "goes-quiet"] {
        use std::io::{Read, Write};
        let mut client = connect(embly.at(function));
        client
            .write_all(b"GET /20000 HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        if function == "sleeps" {
            begun(&embly, 1);
        } else {
            let mut head = Vec::new();
            while !head.ends_with(b"3\r\nand\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
        }
        let wrapper = embly.wrapper(function);
        let socket = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
        socket.unwrap();
        drop(client);
        let time = time_until_gone(&[wrapper]);
        assert!(time < Duration::from_secs(1), "{function}: {time:?}");
        assert_eq!(embly.ending(function)["reason"], "client_gone");
    }
}

#[test]
fn no_request_is_lost_while_fork_servers_are_killed_all_the_time() {
    let embly = Embly::run(&Project::unparked().guest("hello").http("hello"));
    let at = embly.at("hello");
    get(at, "/");
    let done = support::Done::default();
    let (answers, kills) = thread::scope(|scope| {
        let at_end = done.at_end();
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut session, mut answers) = (Session::new(at), Vec::new());
                    while !done.is_set() {
                        let answer = session.get("/").unwrap();
                        answers.push((answer.status, answer.reason().to_owned()));
                    }
                    answers
                })
            })
            .collect();
        let (since, mut kills) = (Instant::now(), 0);
        while since.elapsed() < Duration::from_secs(3) {
            // Some while they load, some while they fork.
            pause(7 * (kills % 8), "the load goes on");
            for server in embly.fork_servers("hello") {
                server.signal(Signal::KILL);
                kills += 1;
            }
        }
        drop(at_end);
        let answers: Vec<_> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        (answers, kills)
    });
    let failed: Vec<_> = answers
        .iter()
        .filter(|(status, _)| *status != 200)
        .collect();
    let count = answers.len();
    assert!(kills > 30 && count > 100, "{kills} kills, {count} answers");
    assert!(
        failed.is_empty(),
        "{} of {count} after {kills} kills: {failed:?}",
        failed.len()
    );
}

#[test]
fn requests_wait_for_a_stopped_fork_server_and_running_ones_do_not() {
    let (embly, answer) = sleeping("/300");
    let server = embly.fork_server("sleeps");
    server.signal(Signal::STOP);
    let waits = get_meanwhile(embly.at("sleeps"), "/0");
    assert_slept(answer);
    pause(200, "it would have been answered");
    assert!(!waits.is_finished());
    server.signal(Signal::CONT);
    assert_slept(waits);
    assert_eq!(embly.fork_server("sleeps"), server);
}

#[test]
fn a_stopped_wrapper_is_ended_by_the_limit_wall() {
    let project = Project::unparked()
        .guest_with("sleeps", "    limits: {wall: 500ms}")
        .http("sleeps");
    let embly = Embly::run(&project);
    let answer = get_meanwhile(embly.at("sleeps"), "/100");
    begun(&embly, 1);
    let wrapper = embly.wrapper("sleeps");
    wrapper.signal(Signal::STOP);
    let answer = answer.join().unwrap();
    assert_eq!((answer.status, answer.reason()), (504, "wall"));
    time_until_gone(&[wrapper]);
}

#[test]
fn a_master_that_is_idle_for_20_s_loses_nothing() {
    let embly = Embly::run(&Project::unparked().guest("hello").http("hello"));
    get(embly.at("hello"), "/");
    let before = embly.processes();
    let server = embly.fork_server("hello");
    pause(
        20_000,
        "the thread that starts processes must outlive its work",
    );
    assert_eq!(embly.fork_server("hello"), server);
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    assert_eq!(embly.fork_server("hello"), server);
    eventually("the wrapper's end", || embly.processes().len() == 1);
    assert!(
        before
            .iter()
            .filter(|process| process.leads())
            .all(|process| !process.is_gone())
    );
}

#[test]
fn a_client_that_ends_its_side_while_its_process_is_killed_is_still_told() {
    use std::io::Write;
    let embly = Embly::run(&Project::unparked().guest("sleeps").http("sleeps"));
    let mut client = connect(embly.at("sleeps"));
    client
        .write_all(b"GET /20000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    begun(&embly, 1);
    let wrapper: Process = embly.wrapper("sleeps");
    wrapper.signal(Signal::KILL);
    assert_eq!(read_response(client).reason(), "killed");
}

#[test]
fn children_end_with_a_parent_that_is_killed() {
    let project = Project::unparked()
        .guest("holds")
        .guest("sleeps-on")
        .http("holds");
    let embly = Embly::run(&project);
    let answer = get_meanwhile(embly.at("holds"), "/");
    embly.nth_event("log", 2, |event| event["function"] == "sleeps-on");
    let children = embly.wrappers("sleeps-on");
    assert_eq!(children.len(), 3);
    embly.wrapper("holds").signal(Signal::KILL);
    assert_eq!(answer.join().unwrap().reason(), "killed");
    let time = time_until_gone(&children);
    assert!(time < Duration::from_secs(1), "{time:?}");
    for n in 0..3 {
        let ended = embly.nth_event("invocation_ended", n, |event| {
            event["function"] == "sleeps-on"
        });
        assert_eq!(ended["reason"], "parent_ended");
    }
}

#[test]
#[ignore = "a benchmark: it prints how long the first request to a function takes"]
fn first_requests_take() {
    const STARTS: usize = 200;
    let project = Project::unparked()
        .guest("hello")
        .wat("small", &support::project::answering("hello"));
    let embly = Embly::run(&project.http("hello").http("small"));
    for function in ["hello", "small"] {
        let at = embly.at(function);
        get(at, "/");
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let server = embly.fork_server(function);
            server.signal(Signal::KILL);
            time_until_gone(&[server]);
            pause(5, "the master has reaped it");
            let since = Instant::now();
            assert_eq!(get(at, "/").text(), "hello");
            times.push(since.elapsed());
        }
        times.sort();
        let (p50, p99) = (times[STARTS / 2], times[STARTS * 99 / 100]);
        println!(
            "{function}: first request p50 {p50:?}, p99 {p99:?}, most {:?}",
            times[STARTS - 1]
        );
    }
}
