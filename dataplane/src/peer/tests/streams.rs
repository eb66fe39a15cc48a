//! Streams over real sockets, with ends that note what they are told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use proto::v1::{self, peer_client::PeerClient, peer_up};
use sched::{
    TicketId,
    lead::StreamId,
    permit::{Down, Incarnation, Member, PlaneId, Term, Up},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::peer::{
    Ends, Links as _, Names, Outbox, address,
    knock::Door,
    link::{Linker, Place, Places, Seen, link},
    listen,
};

const WITHIN: Duration = Duration::from_secs(30);

/// What an end was told.
#[derive(Debug)]
enum Note {
    Connected(u64, Outbox<Up>),
    Lost(u64),
    Heard(u64, Down),
    Joined(StreamId, Outbox<Down>),
    Told(StreamId, Up),
    Left(StreamId),
}

/// Notes what it is told.
struct Noting {
    notes: mpsc::UnboundedSender<Note>,
    leads: AtomicBool,
    streams: AtomicU64,
}

impl Noting {
    fn note(&self, note: Note) {
        let _ = self.notes.send(note);
    }
}

impl Ends for Noting {
    fn connected(&self, attempt: u64, out: Outbox<Up>) {
        self.note(Note::Connected(attempt, out));
    }

    fn lost(&self, attempt: u64) {
        self.note(Note::Lost(attempt));
    }

    fn heard(&self, attempt: u64, message: Down) {
        self.note(Note::Heard(attempt, message));
    }

    fn joined(&self, out: Outbox<Down>) -> Option<StreamId> {
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        self.leads.load(Ordering::Relaxed).then(|| self.note(Note::Joined(stream, out)))?;
        Some(stream)
    }

    fn told(&self, stream: StreamId, message: Up) {
        self.note(Note::Told(stream, message));
    }

    fn left(&self, stream: StreamId) {
        self.note(Note::Left(stream));
    }
}

type Notes = mpsc::UnboundedReceiver<Note>;

async fn next(notes: &mut Notes) -> Note {
    tokio::time::timeout(WITHIN, notes.recv()).await.expect("in time").expect("it notes")
}

fn noting() -> (Arc<Noting>, Notes) {
    let (notes, noted) = mpsc::unbounded_channel();
    (Arc::new(Noting { notes, leads: AtomicBool::new(true), streams: AtomicU64::new(0) }), noted)
}

/// The one that leads: it listens.
struct Lead {
    addr: SocketAddr,
    ends: Arc<Noting>,
    notes: Notes,
    names: Arc<Names>,
    passed: mpsc::Receiver<(std::net::TcpStream, SocketAddr)>,
    _over: DropGuard,
}

async fn lead() -> Lead {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let ((ends, notes), names, over) = (noting(), Arc::new(Names::default()), CancellationToken::new());
    // Its numbers are not those of the other.
    assert_eq!(names.plane("other"), Some(PlaneId(0)));
    assert_eq!(names.plane("follower"), Some(PlaneId(1)));
    let (passing, mut passed) = listen::passing(1);
    let over_there = (Arc::default(), over.clone());
    tokio::spawn(listen::serve(listener, (ends.clone(), names.clone()), passing, over_there));
    Lead { addr, ends, notes, names, passed: passed.remove(0), _over: over.drop_guard() }
}

/// One that follows.
struct Follower {
    links: Linker,
    notes: Notes,
    seen: Seen,
    /// Where the lead is.
    at: Arc<Mutex<String>>,
}

const LEAD: PlaneId = PlaneId(1);

fn follower(at: String) -> Follower {
    let ((ends, notes), names) = (noting(), Arc::new(Names::default()));
    assert_eq!(names.plane("follower"), Some(PlaneId(0)));
    let at = Arc::new(Mutex::new(at));
    let known = at.clone();
    let places: Places = Arc::new(move |plane| {
        let address = known.lock().unwrap().clone();
        let door = Door { plane: "lead".to_owned(), incarnation: 3, address };
        (plane == LEAD).then_some(Place { door, term: 9 })
    });
    let (links, seen, link) = link(places, names);
    tokio::spawn(link.run(ends));
    Follower { links, notes, seen, at }
}

fn hello(plane: u32) -> Up {
    let member = Member { plane: PlaneId(plane), incarnation: Incarnation(4) };
    Up::Hello { member, heard: Term(8), attempt: 1 }
}

/// A stream on which both have spoken.
async fn joined(lead: &mut Lead, follower: &mut Follower) -> (StreamId, Outbox<Down>, Outbox<Up>) {
    follower.links.connect(LEAD, 1);
    let Note::Connected(1, up) = next(&mut follower.notes).await else { panic!("it connects") };
    assert!(up.send(hello(0)));
    let Note::Joined(stream, down) = next(&mut lead.notes).await else { panic!("it joins") };
    let Note::Told(of, first) = next(&mut lead.notes).await else { panic!("it says hello") };
    assert_eq!((of, first), (stream, hello(1)), "by the number that it has there");
    assert!(down.send(Down::Welcome { term: Term(9) }));
    let Note::Heard(1, Down::Welcome { term: Term(9) }) = next(&mut follower.notes).await else {
        panic!("it is welcomed")
    };
    (stream, down, up)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_go_both_ways_in_order_and_the_end_is_told_to_both() {
    let mut lead = lead().await;
    let mut follower = follower(lead.addr.to_string());
    let (stream, down, up) = joined(&mut lead, &mut follower).await;
    for number in 0..500 {
        assert!(up.send(Up::Cancel { ticket: TicketId(number) }));
        assert!(down.send(Down::Refuse { ticket: TicketId(number), why: sched::Refusal::Draining }));
    }
    for number in 0..500 {
        let Note::Told(of, Up::Cancel { ticket }) = next(&mut lead.notes).await else { panic!("a word") };
        assert_eq!((of, ticket), (stream, TicketId(number)));
        let Note::Heard(1, Down::Refuse { ticket, .. }) = next(&mut follower.notes).await else {
            panic!("a word")
        };
        assert_eq!(ticket, TicketId(number));
    }
    assert_eq!(follower.seen.lead.borrow().map(|seen| (seen.term, seen.silent)), Some((9, false)));
    drop(down);
    assert!(matches!(next(&mut lead.notes).await, Note::Left(left) if left == stream));
    assert!(matches!(next(&mut follower.notes).await, Note::Lost(1)));
    assert!(!up.send(hello(0)), "nobody is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_ends_is_heard_to_its_last_word() {
    let mut lead = lead().await;
    let mut follower = follower(lead.addr.to_string());
    let (stream, _down, up) = joined(&mut lead, &mut follower).await;
    for number in 0..2_000 {
        assert!(up.send(Up::Cancel { ticket: TicketId(number) }));
    }
    follower.links.end();
    for number in 0..2_000 {
        let Note::Told(_, Up::Cancel { ticket }) = next(&mut lead.notes).await else { panic!("a word") };
        assert_eq!(ticket, TicketId(number));
    }
    assert!(matches!(next(&mut lead.notes).await, Note::Left(left) if left == stream));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_lead_and_a_word_before_hello_are_refused() {
    let mut lead = lead().await;
    lead.ends.leads.store(false, Ordering::Relaxed);
    let mut follower = follower(lead.addr.to_string());
    follower.links.connect(LEAD, 1);
    let Note::Connected(1, up) = next(&mut follower.notes).await else { panic!("it connects") };
    assert!(up.send(hello(0)));
    assert!(matches!(next(&mut follower.notes).await, Note::Lost(1)));
    let mut client = PeerClient::connect(format!("http://{}", lead.addr)).await.unwrap();
    let said = |message| tokio_stream::iter([v1::PeerUp { message: Some(message) }]);
    let hello = |plane: &str| v1::PeerHello { plane_id: plane.to_owned(), ..v1::PeerHello::default() };
    for (message, code) in [
        (peer_up::Message::Cancel(v1::PeerCancel { ticket: 1 }), tonic::Code::InvalidArgument),
        (peer_up::Message::Hello(hello("other")), tonic::Code::FailedPrecondition),
        (peer_up::Message::Hello(hello("stranger")), tonic::Code::Unavailable),
    ] {
        let refused = client.join(said(message)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    assert_eq!(lead.names.known("stranger"), None, "a name that no picture tells gets no number");
    assert!(lead.notes.try_recv().is_err(), "nobody joined");
}

/// Carries bytes between two ends while it is let; stopped, it takes none and closes nothing.
async fn between(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (go, going) = watch::channel(true);
    tokio::spawn(async move {
        while let (Ok((one, _)), Ok(other)) = (listener.accept().await, TcpStream::connect(to).await) {
            let mut going = going.clone();
            tokio::spawn(async move {
                let ((mut one_in, mut one_out), (mut other_in, mut other_out)) =
                    (one.into_split(), other.into_split());
                tokio::select! {
                    _ = copy(&mut one_in, &mut other_out) => {}
                    _ = copy(&mut other_in, &mut one_out) => {}
                    _ = going.wait_for(|go| !go) => {}
                }
                // Kept open until the test ends.
                let _ = going.wait_for(|go| *go).await;
            });
        }
    });
    (addr, go)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_notice_that_the_other_stands_still() {
    let mut lead = lead().await;
    let (addr, go) = between(lead.addr).await;
    let mut follower = follower(addr.to_string());
    let (stream, _down, _up) = joined(&mut lead, &mut follower).await;
    go.send_replace(false);
    assert!(matches!(next(&mut lead.notes).await, Note::Left(left) if left == stream));
    assert!(matches!(next(&mut follower.notes).await, Note::Lost(1)));
    let silent = follower.seen.lead.wait_for(|seen| seen.is_some_and(|seen| seen.silent));
    let seen = tokio::time::timeout(WITHIN, silent).await.expect("in time").unwrap();
    assert_eq!(seen.map(|seen| seen.term), Some(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_wish_gives_up_the_earlier() {
    let mut lead = lead().await;
    // Connections come about, and nobody answers on them.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut follower = follower(mute.local_addr().unwrap().to_string());
    follower.links.connect(LEAD, 1);
    let Note::Connected(1, first) = next(&mut follower.notes).await else { panic!("it connects") };
    *follower.at.lock().unwrap() = lead.addr.to_string();
    follower.links.connect(LEAD, 2);
    let Note::Connected(2, up) = next(&mut follower.notes).await else { panic!("the first is not told of") };
    let over = async {
        while first.send(hello(0)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, over).await.expect("the first is over soon");
    assert!(up.send(hello(0)));
    let Note::Joined(stream, _down) = next(&mut lead.notes).await else { panic!("it joins") };
    follower.links.disconnect();
    let last = loop {
        match next(&mut lead.notes).await {
            Note::Told(..) => {}
            other => break other,
        }
    };
    assert!(matches!(last, Note::Left(left) if left == stream));
    assert!(follower.notes.try_recv().is_err(), "who gives a stream up is told nothing of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_proves_death_at_the_direct_address_alone() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let own = address::told(gone, "http://127.0.0.1:1", address::here());
    let mut follower = follower(format!("localhost:{}", gone.port()));
    for (attempt, place) in [(1, None), (2, Some(gone.to_string())), (3, Some(own))] {
        if let Some(place) = place {
            *follower.at.lock().unwrap() = place;
        }
        follower.links.connect(LEAD, attempt);
        assert!(matches!(next(&mut follower.notes).await, Note::Lost(lost) if lost == attempt));
        let proof = follower.seen.dead.try_recv().ok().map(|dead| (dead.plane_id, dead.incarnation));
        let proven = attempt == 3 && address::here().is_some();
        assert_eq!(proof, proven.then(|| ("lead".to_owned(), 3)), "{attempt}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_stream_is_handed_on_with_its_first_bytes() {
    let mut lead = lead().await;
    let mut client = TcpStream::connect(lead.addr).await.unwrap();
    // As long as a stream's beginning, alike at first, and in two pieces.
    for piece in ["P", "OST / HTTP/1.1\r\n\r\n"] {
        client.write_all(piece.as_bytes()).await.unwrap();
    }
    let (stream, from) =
        tokio::time::timeout(WITHIN, lead.passed.recv()).await.expect("in time").expect("it is handed on");
    assert_eq!(from, client.local_addr().unwrap());
    let mut stream = TcpStream::from_std(stream).unwrap();
    let mut first = [0; 19];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"POST / HTTP/1.1\r\n\r\n");
}
