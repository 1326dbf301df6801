use super::*;
use crate::names::Ask;
use protos::credit::{MIN_COST, MIN_WINDOW};

fn address(n: u64) -> Address {
    Address::new(n).unwrap()
}

fn from(n: u64, body: Body) -> Message {
    Message {
        to: Some(address(1)),
        from: Some(address(n)),
        body,
    }
}

fn events(streams: &mut Streams, room: usize) -> Vec<u32> {
    let mut ids = Vec::new();
    streams.take_events(|id| ids.push(id), room);
    ids
}

#[test]
fn nothing_yet_and_ended_are_two_answers() {
    let mut streams = Streams::new(address(9), 0);
    let mut buffer = [0; 8];
    assert_eq!(streams.read(PARENT, &mut buffer), Err(Errno::AGAIN));
    streams.receive(from(9, Body::HalfClose));
    assert_eq!(
        streams.read(PARENT, &mut buffer),
        Ok(Read {
            bytes: 0,
            report: None
        })
    );
    assert_eq!(streams.read(7, &mut buffer), Err(Errno::BADF));
}

#[test]
fn bytes_have_no_boundaries() {
    let mut streams = Streams::new(address(9), 0);
    streams.receive(from(9, Body::Data("abc".into())));
    streams.receive(from(9, Body::Data("def".into())));
    let mut buffer = [0; 4];
    assert_eq!(streams.read(PARENT, &mut buffer).unwrap().bytes, 4);
    assert_eq!(&buffer, b"abcd");
    assert_eq!(streams.read(PARENT, &mut buffer).unwrap().bytes, 2);
}

#[test]
fn an_event_is_told_once_and_what_does_not_fit_is_kept() {
    let mut streams = Streams::new(address(9), 0);
    let ids: Vec<u32> = (100..120)
        .map(|n| streams.open(address(n)).unwrap())
        .collect();
    for n in 100..120 {
        streams.receive(from(n, Body::Data("x".into())));
        streams.receive(from(n, Body::Data("y".into())));
    }
    assert_eq!(events(&mut streams, 7), ids[..7]);
    assert_eq!(events(&mut streams, 100), ids[7..]);
    assert_eq!(events(&mut streams, 100), []);
    streams.receive(from(100, Body::Data("z".into())));
    assert_eq!(events(&mut streams, 100), ids[..1]);
}

#[test]
fn credit_is_an_event_only_for_one_who_waits() {
    let mut streams = Streams::new(address(9), 0);
    streams.receive(from(9, Body::Credit(5)));
    assert!(!streams.has_events());
    let all = INITIAL_WINDOW as usize + 5;
    assert_eq!(streams.write(PARENT, all + 1), Ok((address(9), all)));
    assert_eq!(streams.write(PARENT, 1), Err(Errno::AGAIN));
    streams.receive(from(9, Body::Credit(MIN_COST - 1)));
    assert!(!streams.has_events(), "not enough for a frame");
    streams.receive(from(9, Body::Credit(2 * MIN_COST + 1)));
    assert_eq!(events(&mut streams, 1), [PARENT]);
    // Each of them costs as much as the smallest frame does.
    for _ in 0..3 {
        assert_eq!(streams.write(PARENT, 1), Ok((address(9), 1)));
    }
    assert_eq!(streams.write(PARENT, 1), Err(Errno::AGAIN));
}

#[test]
fn an_ending_comes_after_the_data_and_stays_readable() {
    let mut streams = Streams::new(address(9), 0);
    let id = streams.open(address(100)).unwrap();
    assert_eq!(streams.status(id), Err(Errno::AGAIN));
    streams.receive(from(100, Body::Data("last".into())));
    streams.receive(from(100, Body::Ending(Ending::exit(3))));
    assert_eq!(streams.live_children(), 0);
    assert_eq!(streams.write(id, 1), Err(Errno::PIPE));
    let mut buffer = [0; 8];
    let read = streams.read(id, &mut buffer).unwrap();
    assert_eq!(
        read,
        Read {
            bytes: 4,
            report: Some((address(100), MIN_COST))
        }
    );
    assert_eq!(streams.read(id, &mut buffer).unwrap().bytes, 0);
    assert_eq!(streams.status(id).unwrap().code, 3);
}

#[test]
fn what_was_read_before_the_end_is_owed_to_the_master_once() {
    let mut streams = Streams::new(address(9), 0);
    let id = streams.open(address(100)).unwrap();
    streams.receive(from(100, Body::Data("all".into())));
    let mut buffer = [0; 8];
    assert_eq!(streams.read(id, &mut buffer).unwrap().report, None);
    assert_eq!(streams.take_owed(), []);
    streams.receive(from(100, Body::Ending(Ending::exit(0))));
    assert_eq!(streams.take_owed(), [(address(100), MIN_COST)]);
    assert_eq!(streams.take_owed(), []);
}

#[test]
fn only_the_oldest_of_many_ended_streams_is_forgotten() {
    let mut streams = Streams::new(address(9), 0);
    for n in 0..=ENDED_KEPT as u64 {
        streams.open(address(100 + n)).unwrap();
        streams.receive(from(100 + n, Body::Ending(Ending::exit(0))));
    }
    assert_eq!(streams.status(2), Err(Errno::BADF));
    assert!(streams.status(3).is_ok());
    assert!(
        streams
            .status(PARENT)
            .is_err_and(|errno| errno == Errno::AGAIN)
    );
}

#[test]
fn a_newcomer_is_a_new_id_and_an_event_of_its_own() {
    let mut streams = Streams::new(address(9), 0);
    let granted = || Body::Grant {
        name: "board".to_owned(),
        error: Errno::SUCCESS,
    };
    let child = streams.open(address(50)).unwrap();
    streams.receive(from(100, granted()));
    streams.receive(from(100, Body::Data("hi".into())));
    let [id] = events(&mut streams, 10)[..] else {
        panic!("not one event");
    };
    assert!(id > child);
    assert_eq!(streams.read(id, &mut [0; 8]).unwrap().bytes, 2);
    assert_eq!(streams.child(id), Err(Errno::PERM));
    assert_eq!(streams.monitored(id), Ok(Some(address(100))));
    streams.receive(from(100, Body::Ending(Ending::exit(0))));
    assert_eq!(streams.take_left(), [address(100)]);
    assert_eq!(streams.close(id), Ok(None));
    assert_eq!(streams.take_left(), []);
    assert_eq!(streams.monitored(id), Err(Errno::PIPE));
    assert_eq!(streams.live_children(), 1);
}

#[test]
fn a_newcomer_at_the_address_of_a_stream_that_has_ended_is_another_one() {
    let mut streams = Streams::new(address(9), 0);
    let granted = || Body::Grant {
        name: "board".to_owned(),
        error: Errno::SUCCESS,
    };
    streams.receive(from(100, granted()));
    streams.receive(from(100, Body::Data("old".into())));
    streams.receive(from(100, Body::Ending(Ending::exit(0))));
    streams.receive(from(100, granted()));
    streams.receive(from(100, Body::Data("new".into())));
    let [old, new] = events(&mut streams, 10)[..] else {
        panic!("not two streams");
    };
    let read = |streams: &mut Streams, id: u32| {
        let mut buffer = [0; 8];
        let bytes = streams.read(id, &mut buffer).unwrap().bytes;
        buffer[..bytes].to_vec()
    };
    assert_eq!(read(&mut streams, old), b"old");
    assert_eq!(read(&mut streams, new), b"new");
    assert_eq!(streams.monitored(new), Ok(Some(address(100))));
}

#[test]
fn streams_by_name_are_counted_whoever_has_opened_them() {
    let mut streams = Streams::new(address(9), 0);
    let granted = Body::Grant {
        name: "board".to_owned(),
        error: Errno::SUCCESS,
    };
    streams.receive(from(99, granted));
    for n in 1..MAX_CALLS as u64 {
        streams.call(address(100 + n)).unwrap();
    }
    assert_eq!(streams.call(address(500)), Err(Errno::AGAIN));
    streams.receive(from(99, Body::Ending(Ending::exit(0))));
    assert!(streams.call(address(500)).is_ok());
    // Children are counted apart.
    assert_eq!(streams.live_children(), 0);
}

#[test]
fn only_children_can_be_killed() {
    let mut streams = Streams::new(address(9), 0);
    let child = streams.open(address(50)).unwrap();
    let call = streams.call(address(60)).unwrap();
    assert_eq!(streams.child(child), Ok(Some(address(50))));
    assert_eq!(streams.child(call), Err(Errno::PERM));
    assert_eq!(streams.child(PARENT), Err(Errno::PERM));
    assert_eq!(streams.child(77), Err(Errno::BADF));
    streams.receive(from(50, Body::Ending(Ending::exit(0))));
    assert_eq!(streams.child(child), Ok(None));
}

#[test]
fn the_answer_to_a_name_is_an_event_of_the_invocation_itself() {
    let mut streams = Streams::new(address(9), 0);
    assert_eq!(streams.names.register("board"), Ask::Now);
    let granted = Message {
        to: Some(address(1)),
        from: None,
        body: Body::Grant {
            name: "board".to_owned(),
            error: Errno::SUCCESS,
        },
    };
    streams.receive(granted.clone());
    streams.receive(granted);
    assert_eq!(events(&mut streams, 10), [ITSELF]);
    assert_eq!(streams.names.register("board"), Ask::Answered(Ok(())));
}

#[test]
fn a_warning_is_an_event_of_its_own_and_names_its_limit() {
    let mut streams = Streams::new(address(9), 0);
    let warning = |limit: &str| Message {
        to: Some(address(1)),
        from: None,
        body: Body::Warning(protos::Warning {
            limit: limit.to_owned(),
        }),
    };
    assert_eq!(streams.take_warning(), None);
    streams.receive(warning("wall"));
    streams.warn(Reason::Cpu, "cpu");
    assert_eq!(events(&mut streams, 8), [ITSELF]);
    let named = [(Reason::Wall, "wall"), (Reason::Cpu, "cpu")];
    for (reason, limit) in named {
        assert_eq!(streams.take_warning(), Some(Ending::new(reason, limit)));
    }
    assert_eq!(streams.take_warning(), None);
    streams.receive(warning("total"));
    assert_eq!(events(&mut streams, 8), [ITSELF]);
}

#[test]
fn what_is_said_by_somebody_unknown_is_dropped() {
    let mut streams = Streams::new(address(9), 0);
    streams.receive(from(77, Body::Data("x".into())));
    streams.receive(from(77, Body::Ending(Ending::exit(0))));
    assert!(!streams.has_events());
}

#[test]
fn a_whole_request_to_a_service_is_one_frame() {
    for (window, fits) in [
        (0, MAX_WINDOW),
        (100_000, 100_000),
        (MIN_WINDOW, MIN_WINDOW),
    ] {
        let mut streams = Streams::new(address(9), window);
        let id = streams.open_to_service(address(50)).unwrap();
        let fits = fits as usize;
        assert_eq!(streams.write(id, fits), Ok((address(50), fits)));
        assert_eq!(streams.write(id, 1), Err(Errno::AGAIN));
        assert_eq!(streams.live_children(), 1);
    }
}
