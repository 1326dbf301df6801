//! The table as threads use it: processes at their own pace, drivers that hand in what these say, a
//! gateway, and somebody who stops. All take turns at one lock, and what the table decides is delivered
//! under it, as the switchboard does. An explorer chooses, thousands of times, who goes on.

use embly_wrapper::streams::{PARENT, Streams};
use protos::Errno;
use protos::credit::{MIN_WINDOW, Taken, cost, room};
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread::{self, JoinHandle};

use super::*;
use crate::exploring::schedules;

const GATE: u64 = 1;
const PARENTS: u64 = 2;
const CHILD: u64 = 3;

fn address(number: u64) -> Address {
    Address::new(number).unwrap()
}

fn limits() -> SpawnLimits {
    SpawnLimits {
        children: None,
        depth: None,
        tree: None,
        window: MIN_WINDOW,
    }
}

/// What is brought to whoever has an address.
enum Word {
    Deliver(Message),
    Stop(Ending),
}

struct Core {
    router: Router,
    receivers: HashMap<Address, Sender<Word>>,
    /// Where functions are started.
    pool: Option<Sender<(Address, Receiver<Word>)>>,
}

/// What the switchboard is: the table, who listens, and the lock around both.
struct Board(Mutex<Core>);

impl Board {
    fn new(pool: Option<Sender<(Address, Receiver<Word>)>>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Core {
            router: Router::new(Budget::new(u64::MAX)),
            receivers: HashMap::new(),
            pool,
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Router, &mut Vec<Effect>) -> T) -> T {
        self.0.lock().unwrap().change(change)
    }

    fn listen(&self, address: Address) -> Receiver<Word> {
        let (sender, receiver) = channel();
        self.0.lock().unwrap().receivers.insert(address, sender);
        receiver
    }

    /// A process has ended; nothing is delivered to it any more.
    fn ended(&self, address: Address, ending: &Ending) {
        let mut core = self.0.lock().unwrap();
        core.receivers.remove(&address);
        core.change(|router, effects| router.ended(address, ending, effects));
    }
}

impl Core {
    fn change<T>(&mut self, change: impl FnOnce(&mut Router, &mut Vec<Effect>) -> T) -> T {
        let mut effects = Vec::new();
        let result = change(&mut self.router, &mut effects);
        for effect in effects {
            match effect {
                Effect::Deliver(message) => {
                    let to = message.to.expect("somebody");
                    self.tell(to, Word::Deliver(message));
                }
                Effect::Stop(address, ending) => self.tell(address, Word::Stop(ending)),
                Effect::Start { address, .. } => {
                    let (sender, receiver) = channel();
                    self.receivers.insert(address, sender);
                    let pool = self.pool.as_ref().expect("a pool");
                    pool.send((address, receiver)).expect("it starts all");
                }
                Effect::Exiting(..) | Effect::Refused { .. } => {}
                Effect::Log { .. } => panic!("nobody logs"),
            }
        }
        result
    }

    fn tell(&self, to: Address, word: Word) {
        if let Some(receiver) = self.receivers.get(&to) {
            // Whoever has gone meanwhile needs no word.
            let _ = receiver.send(word);
        }
    }
}

/// What stands at this place of a stream.
fn letter(at: usize) -> u8 {
    (at % 251) as u8
}

/// Bytes that go there and back; a few windows.
const BYTES: usize = 3 * MIN_WINDOW as usize;

/// The most that anybody writes at once.
const PIECE: usize = 1500;

/// One way through a process: what it reads here is written there.
struct Way {
    from: u32,
    to: u32,
    carried: Vec<u8>,
    read_all: bool,
    closed: bool,
}

/// A process that passes on what it reads, and says `Exit` at the end of all.
fn passes_on(
    me: Address,
    mut streams: Streams,
    ways: &[(u32, u32)],
    inbox: &Receiver<Word>,
    outbox: &Sender<Message>,
) {
    let say = |to: Option<Address>, body| {
        let from = Some(me);
        outbox.send(Message { to, from, body }).unwrap();
    };
    let mut ways: Vec<_> = ways
        .iter()
        .map(|(from, to)| Way {
            from: *from,
            to: *to,
            carried: Vec::new(),
            read_all: false,
            closed: false,
        })
        .collect();
    while !ways.iter().all(|way| way.closed) {
        let mut moved = false;
        for way in ways.iter_mut().filter(|way| !way.closed) {
            if way.carried.is_empty() && !way.read_all {
                let mut buffer = [0; PIECE];
                match streams.read(way.from, &mut buffer) {
                    Ok(read) => {
                        way.carried.extend(&buffer[..read.bytes]);
                        way.read_all = read.bytes == 0;
                        moved = true;
                        if let Some((to, bytes)) = read.report {
                            say(Some(to), Body::Credit(bytes));
                        }
                    }
                    Err(errno) => assert_eq!(errno, Errno::AGAIN),
                }
            }
            if way.carried.is_empty() && way.read_all {
                way.closed = true;
                moved = true;
                if let Some(to) = streams.close(way.to).unwrap() {
                    say(Some(to), Body::HalfClose);
                }
            } else if !way.carried.is_empty() {
                match streams.write(way.to, way.carried.len()) {
                    Ok((to, count)) => {
                        let data: Vec<_> = way.carried.drain(..count).collect();
                        say(Some(to), Body::Data(data.into()));
                        moved = true;
                    }
                    Err(errno) => assert_eq!(errno, Errno::AGAIN),
                }
            }
        }
        let next = if moved {
            inbox.try_recv().ok()
        } else {
            // Nothing else can happen: whoever waits for ever is found by the explorer.
            inbox.recv().ok()
        };
        match next {
            Some(Word::Deliver(message)) => streams.receive(message),
            // Its parent has ended, which it does with all in its hands.
            Some(Word::Stop(_)) | None => {}
        }
    }
    say(None, Body::Exit(Ending::new(Reason::Ok, "")));
}

/// Hands in what a process says, and its end.
fn drives(board: &Board, me: Address, says: &Receiver<Message>) {
    while let Ok(message) = says.recv() {
        board.with(|router, effects| router.wrapper_says(me, message, effects));
    }
    board.ended(me, &Ending::new(Reason::Ok, ""));
}

fn process(
    board: &Arc<Board>,
    me: Address,
    streams: Streams,
    ways: &'static [(u32, u32)],
    inbox: Receiver<Word>,
) -> [JoinHandle<()>; 2] {
    let (outbox, says) = channel();
    let board = Arc::clone(board);
    [
        thread::spawn(move || passes_on(me, streams, ways, &inbox, &outbox)),
        thread::spawn(move || drives(&board, me, &says)),
    ]
}

/// A gateway, or the thread of a service: writes as far as its credit goes, and reads what comes back.
fn gate_asks(board: &Board, inbox: &Receiver<Word>, mut credit: u32) {
    let (me, function) = (address(GATE), Some(address(PARENTS)));
    let (mut written, mut read, mut taken) = (0, 0, Taken::default());
    let mut closed = false;
    loop {
        let bytes = (room(credit) as usize).min(PIECE).min(BYTES - written);
        if bytes > 0 {
            let data: Vec<_> = (written..).take(bytes).map(letter).collect();
            credit -= cost(bytes);
            written += bytes;
            board.with(|router, effects| router.data(me, function, data.into(), effects));
        } else if written == BYTES && !closed {
            closed = true;
            board.with(|router, effects| router.half_close(me, function, effects));
        }
        let can_write = room(credit) > 0 && written < BYTES || !closed && written == BYTES;
        let word = if can_write {
            match inbox.try_recv() {
                Ok(word) => word,
                Err(_) => continue,
            }
        } else {
            inbox.recv().unwrap()
        };
        let Word::Deliver(message) = word else {
            panic!("nobody stops a gateway")
        };
        match message.body {
            Body::Credit(bytes) => credit += bytes,
            Body::Data(data) => {
                assert!(
                    data.iter()
                        .copied()
                        .eq((read..).take(data.len()).map(letter))
                );
                read += data.len();
                if let Some(report) = taken.take(cost(data.len()), true) {
                    board.with(|router, effects| router.taken(me, function, report, effects));
                }
            }
            Body::HalfClose => assert_eq!(read, BYTES, "all came back"),
            Body::Ending(ending) => {
                assert_eq!((ending.reason, read), (Reason::Ok, BYTES));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn bytes_pass_a_gateway_a_function_and_its_child_and_back_whichever_thread_goes_on() {
    schedules(|| {
        let board = Board::new(None);
        let (gate, parent, child) = (address(GATE), address(PARENTS), address(CHILD));
        let [at_gate, at_parent, at_child] = [gate, parent, child].map(|who| board.listen(who));
        let credit = {
            let mut core = board.0.lock().unwrap();
            let router = &mut core.router;
            let family = flow::family(router, [MIN_WINDOW; 2]);
            assert_eq!(family, Some([gate, parent, child]));
            router.credit(gate, parent)
        };
        let mut of_parent = Streams::new(gate, MIN_WINDOW);
        let id = of_parent.open(child).unwrap();
        // The id of the first child.
        assert_eq!(id, 2);
        let threads = [
            process(
                &board,
                parent,
                of_parent,
                &[(PARENT, 2), (2, PARENT)],
                at_parent,
            ),
            process(
                &board,
                child,
                Streams::new(parent, MIN_WINDOW),
                &[(PARENT, PARENT)],
                at_child,
            ),
        ];
        gate_asks(&board, &at_gate, credit);
        for thread in threads.into_iter().flatten() {
            thread.join().unwrap();
        }
        let ending = Ending::new(Reason::Killed, "");
        board.with(|router, effects| router.close_gate(gate, ending, effects));
        let size = board.0.lock().unwrap().router.size();
        assert_eq!(size, Size::default(), "nothing is left");
    });
}

/// What a process says, in this order, before it is gone.
fn plan(who: u64) -> Vec<Body> {
    let spawn = |child| Body::Spawn {
        name: "f".to_owned(),
        address: address(child),
        options: None,
    };
    let exit = || Body::Exit(Ending::new(Reason::Ok, ""));
    match who {
        PARENTS => vec![spawn(CHILD), spawn(CHILD + 1), Body::Kill, exit()],
        CHILD => vec![spawn(CHILD + 2), exit()],
        // One dies without a word.
        4 => vec![],
        _ => vec![exit()],
    }
}

/// The life of one invocation: it starts when its turn comes, says what it has to, and ends once, by
/// itself or since it is told to. Its result is what it has heard of others' ends.
fn lives(board: &Arc<Board>, me: Address, inbox: &Receiver<Word>) -> Vec<Address> {
    board.with(|router, _| router.started(me));
    let (outbox, says) = channel();
    let speaker = thread::spawn(move || {
        for body in plan(me.get()) {
            let to = matches!(body, Body::Kill).then_some(address(CHILD));
            let from = Some(me);
            // It may have been ended.
            let _ = outbox.send(Message { to, from, body });
        }
    });
    let (mut heard, mut ending) = (Vec::new(), Ending::new(Reason::Trap, "without a word"));
    let mut hear = |inbox: &Receiver<Word>, wait: bool| loop {
        let word = if wait {
            inbox.recv().ok()
        } else {
            inbox.try_recv().ok()
        };
        match word {
            Some(Word::Deliver(Message {
                body: Body::Ending(_),
                from,
                ..
            })) => {
                heard.push(from.expect("somebody"));
            }
            Some(Word::Deliver(_)) => {}
            Some(Word::Stop(ending)) => break Some(ending),
            None => break None,
        }
    };
    loop {
        if let Some(stopped) = hear(inbox, false) {
            ending = stopped;
            break;
        }
        let Ok(message) = says.recv() else { break };
        if let Body::Exit(said) = &message.body {
            ending = said.clone();
        }
        board.with(|router, effects| router.wrapper_says(me, message, effects));
    }
    drop(says);
    board.ended(me, &ending);
    // What was under way when it ended.
    while hear(inbox, true).is_some() {}
    speaker.join().unwrap();
    heard
}

#[test]
fn whoever_exits_kills_stops_or_leaves_each_ends_once_and_nothing_is_left() {
    schedules(|| {
        let (starts, started) = channel();
        let board = Board::new(Some(starts));
        let (gate, parent) = (address(GATE), address(PARENTS));
        let [at_gate, at_parent] = [gate, parent].map(|who| board.listen(who));
        board.with(|router, _| router.open(gate, parent, limits()).unwrap());
        let life = |me, inbox: Receiver<Word>| {
            let board = Arc::clone(&board);
            thread::spawn(move || (me, lives(&board, me, &inbox)))
        };
        let first = life(parent, at_parent);
        let pool = {
            let board = Arc::clone(&board);
            thread::spawn(move || {
                let mut lives_of = Vec::new();
                while let Ok((me, inbox)) = started.recv() {
                    let board = Arc::clone(&board);
                    lives_of.push(thread::spawn(move || (me, lives(&board, me, &inbox))));
                }
                lives_of
            })
        };
        let stops = {
            let board = Arc::clone(&board);
            thread::spawn(move || {
                let ending = Ending::new(Reason::Wall, "");
                board.with(|router, effects| router.stop(parent, ending, effects));
            })
        };
        let leaves = {
            let board = Arc::clone(&board);
            thread::spawn(move || {
                let ending = Ending::new(Reason::Killed, "");
                board.with(|router, effects| router.close_gate(gate, ending, effects));
            })
        };
        stops.join().unwrap();
        leaves.join().unwrap();
        let mut all = vec![first.join().unwrap()];
        // The last of those that were started may start another one.
        while !board.0.lock().unwrap().router.invocations().is_empty() {
            thread::yield_now();
        }
        board.0.lock().unwrap().pool = None;
        let lives_of = pool.join().unwrap();
        all.extend(lives_of.into_iter().map(|life| life.join().unwrap()));
        // Nobody was started twice, and nobody has heard of an end twice.
        let who: BTreeSet<_> = all.iter().map(|(who, _)| *who).collect();
        assert_eq!(who.len(), all.len());
        for (_, heard) in &all {
            let once: BTreeSet<_> = heard.iter().collect();
            assert_eq!(once.len(), heard.len(), "{heard:?}");
        }
        let mut core = board.0.lock().unwrap();
        core.receivers.clear();
        assert_eq!(core.router.size(), Size::default(), "nothing is left");
        drop(core);
        // At most one end came to the gateway, and that of its own function.
        let mut ends = 0;
        while let Ok(Word::Deliver(message)) = at_gate.recv() {
            assert_eq!(message.from, Some(parent));
            ends += 1;
        }
        assert!(ends <= 1);
    });
}
