//! The product's binaries as processes of their own, their logs kept, killed when dropped.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError},
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::DEADLINE;

/// Lines of output kept of one process.
const LINES_MAX: usize = 200_000;

/// The binary of this name, built once for each test program.
///
/// # Panics
/// When the workspace does not build.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let this = std::env::current_exe().expect("a test has a path");
        let folder = this.ancestors().nth(2).expect("tests run in target/PROFILE/deps").to_path_buf();
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        // What cargo tells a test of its package is no part of a build by hand: build scripts that look at it would run again,
        // and all that hangs on them would be built anew, here and at the next build by hand.
        let told = std::env::vars_os().map(|(name, _)| name);
        for name in told.filter(|name| {
            name.to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        }) {
            build.env_remove(name);
        }
        assert!(build.status().expect("cargo runs").success(), "the binaries do not build");
        folder
    });
    folder.join(name)
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Arc<Output>,
}

impl Process {
    /// Starts a binary of the product.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_at(&binary(name), args, env)
    }

    /// Starts the binary at `path`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_at(path: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(path);
        command.args(args).envs(env.iter().copied());
        Self::spawn(command)
    }

    /// Starts a binary of the product by a line of bash that ends in `exec "$@"`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_by(line: &str, name: &str, args: &[&str]) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", line, "--"]).arg(binary(name)).args(args);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let output = Arc::new(Output::default());
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        read(out, output.clone());
        read(err, output.clone());
        Self { child, output }
    }

    /// The first line of output that `right` accepts.
    ///
    /// # Panics
    /// When none comes before the deadline.
    #[must_use]
    pub fn line(&self, what: &str, right: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        let mut lines = self.output.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = lines.iter().find(|line| right(line)) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with {what} in:\n{}", lines.join("\n"));
            lines = self.output.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything said so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.output.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Asks it to end, and waits.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(self) -> ExitStatus {
        self.ask_to_end();
        self.ended()
    }

    /// Asks it to end.
    ///
    /// # Panics
    /// When it is gone.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it is; its connections stay as they are.
    ///
    /// # Panics
    /// When it is gone.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it is gone.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process is ours");
    }

    /// kill -9, and waits for its end.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(from: impl Read + Send + 'static, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut lines = output.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() < LINES_MAX {
                lines.push(line);
            }
            output.more.notify_all();
        }
    });
}

/// The value of `name=value` in a log line.
///
/// # Panics
/// When the line has no such field.
#[must_use]
pub fn field(line: &str, name: &str) -> String {
    let start = line.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
    start.unwrap_or_else(|| panic!("no {name}= in {line}")).to_owned()
}
