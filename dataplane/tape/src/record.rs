//! Recording: off the path of requests, by a thread of its own, up to a bound.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use sched::{BackendId, Decision, Event, Fleet, Moment};

use crate::{
    line::{End, Head, Line, Step},
    read::RECORD_BYTES_MAX,
};

/// A tape has no more bytes; what comes later is not on it.
pub const BYTES_MAX: u64 = 256 << 20;
/// Records that wait to be written; with one more the tape ends.
pub const RECORDS_WAITING_MAX: usize = 16_384;

/// What is recorded goes through here. Dropped or closed, it ends the tape.
#[derive(Debug)]
pub struct Recorder {
    lines: Option<SyncSender<Line>>,
    behind: Arc<AtomicBool>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Recorder {
    /// Begins a tape of a core that was made of `seed` and `fleet`, in a new file or in place of an old one.
    ///
    /// # Errors
    /// The system's word when the file or its thread cannot be made.
    pub fn create(path: &Path, seed: u64, fleet: Fleet, bytes_max: u64) -> io::Result<Recorder> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        // one that was there keeps its mode otherwise
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let mut tape = Tape { file: BufWriter::new(file), bytes: 0, bytes_max, buffer: Vec::new() };
        tape.write(&Line::Head(Head::new(seed, fleet)))?;
        tape.file.flush()?;
        let (lines, coming) = sync_channel(RECORDS_WAITING_MAX);
        let behind = Arc::new(AtomicBool::new(false));
        let told = behind.clone();
        let writer = thread::Builder::new().name("tape".to_owned());
        let writer = Some(writer.spawn(move || tape.run(&coming, &told))?);
        Ok(Recorder { lines: Some(lines), behind, writer })
    }

    /// Names backends from now on.
    pub fn name(&mut self, names: impl IntoIterator<Item = (BackendId, String)>) {
        let names: BTreeMap<u32, String> = names.into_iter().map(|(id, name)| (id.0, name)).collect();
        self.send(Line::Names(names));
    }

    /// The core was told `event` at `at` and said this. Never waits: when too many records wait to be written, the tape
    /// ends before this one. False once it has ended: full, behind, or not to be written.
    pub fn step(&mut self, at: Moment, event: Event, said: &[Decision]) -> bool {
        if self.lines.is_some() {
            self.send(Line::Step(Step::new(at, event, said)));
        }
        self.lines.is_some()
    }

    /// Ends the tape and waits until it is written.
    ///
    /// # Errors
    /// The system's word when it could not all be written.
    pub fn close(mut self) -> io::Result<()> {
        self.lines = None;
        let ended = self.writer.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(io::Error::other("its thread had panicked")))
    }

    fn send(&mut self, line: Line) {
        let sent = self.lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if !sent && self.lines.take().is_some() {
            self.behind.store(true, Ordering::Release);
        }
    }
}

struct Tape {
    file: BufWriter<File>,
    bytes: u64,
    bytes_max: u64,
    buffer: Vec<u8>,
}

impl Tape {
    fn run(mut self, coming: &Receiver<Line>, behind: &AtomicBool) -> io::Result<()> {
        let why = loop {
            // What is there is on the disk whenever nothing more comes.
            let next = match coming.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.file.flush()?;
                    coming.recv()
                }
                Err(TryRecvError::Disconnected) => Err(RecvError),
                Ok(line) => Ok(line),
            };
            match next {
                Err(RecvError) if behind.load(Ordering::Acquire) => break End::Behind,
                Err(RecvError) => break End::Stopped,
                Ok(line) => {
                    if let Some(why) = self.write(&line)? {
                        break why;
                    }
                }
            }
        };
        serde_json::to_writer(&mut self.file, &Line::End(why))?;
        self.file.write_all(b"\n")?;
        self.file.flush()
    }

    /// Writes a line, or says why the tape ends before it.
    fn write(&mut self, line: &Line) -> io::Result<Option<End>> {
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        if self.buffer.len() > RECORD_BYTES_MAX {
            return Ok(Some(End::TooLong));
        }
        self.bytes += self.buffer.len() as u64;
        if self.bytes > self.bytes_max {
            return Ok(Some(End::Full));
        }
        self.file.write_all(&self.buffer)?;
        Ok(None)
    }
}
