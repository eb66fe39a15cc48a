//! What the slow ring starts: binaries of the workspace, a real llama-server, and the scripts of tests/sdk.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use tests::process::binary;

/// How long a server may take until it says where it listens.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long one script may take.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(300);
/// Lines of a process that wait to be looked at; later ones go to its log alone.
const LINES_KEPT: usize = 4096;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What `tests/run` sets for the slow ring.
pub fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests are run by tests/run"))
}

/// A process that ends with this value. What it prints goes to a file that failures name.
pub struct Running {
    what: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Running {
    /// Starts `command`; `what` names it in failures and is the name of its log.
    pub fn start(what: &str, command: &mut Command) -> Self {
        let folder = binary("llmctl").with_file_name("slow");
        fs::create_dir_all(&folder).expect("the folder of the logs can be made");
        let log = folder.join(format!("{what}.log"));
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what} does not start: {error}"));
        let (sender, lines) = mpsc::sync_channel(LINES_KEPT);
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("stdout is piped")),
            Box::new(child.stderr.take().expect("stderr is piped")),
        ];
        let file = File::create(&log).expect("the log can be written");
        for output in outputs {
            let (sender, mut file) = (sender.clone(), file.try_clone().expect("the log has a handle"));
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = writeln!(file, "{line}");
                    // Full: nobody waits for a line any more, and the log has it.
                    let _ = sender.try_send(line);
                }
            });
        }
        Self { what: what.to_owned(), child, lines, log }
    }

    /// The first thing that `find` sees in a line that the process prints.
    pub fn until<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("{}, see {}", self.late(), self.log.display()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended before it listened, see {}", self.what, self.log.display())
                }
            }
        }
    }

    fn late(&self) -> String {
        format!("{} did not say where it listens within {} s", self.what, START_DEADLINE.as_secs())
    }

    /// How it ended, once it did; every line it printed is on our own stdout by then.
    fn ended(mut self, deadline: Duration) -> ExitStatus {
        let until = Instant::now() + deadline;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => println!("{line}"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{} did not end within {deadline:?}", self.what),
            }
        }
        self.child.wait().expect("it was started by us")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The URL behind `mark` in a line such as `listening on http://127.0.0.1:4242`.
pub fn url_after(mark: &str, line: &str) -> Option<String> {
    let rest = line.split_once(mark)?.1;
    let start = rest.find("http://")?;
    let url: String =
        rest[start..].chars().take_while(|c| !c.is_whitespace() && !",;)\u{1b}".contains(*c)).collect();
    Some(url.trim_end_matches('/').to_owned())
}

/// The product, both planes in one process, with a state of its own.
pub struct Product {
    _process: Running,
    _state: tempfile::TempDir,
    /// Where clients are served, e.g. `http://127.0.0.1:4242`.
    pub base: String,
    /// Where it is managed.
    pub control: String,
}

impl Product {
    /// `llmctl up` in front of `backends`.
    pub fn up<S: AsRef<str>>(what: &str, backends: &[S]) -> Self {
        let state = tempfile::tempdir().expect("a folder for the state");
        let mut command = Command::new(binary("llmctl"));
        command.args(["up", "--no-discover", "--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]);
        command.args(["--admin-listen", "127.0.0.1:0", "--state-dir"]).arg(state.path());
        for url in backends {
            command.args(["--backend", url.as_ref()]);
        }
        let process = Running::start(what, &mut command);
        let base = process.until(|line| url_after("Serving at", line));
        let control = process.until(|line| url_after("Managed at", line));
        let product = Self { _process: process, _state: state, base, control };
        product.until_probed(backends.len());
        product
    }

    /// All `count` backends are found healthy, before the deadline.
    fn until_probed(&self, count: usize) {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let listed = self.backends();
            let healthy = listed.iter().filter(|backend| backend["status"]["health"] == "HEALTHY").count();
            if healthy == count {
                return;
            }
            assert!(Instant::now() < deadline, "{healthy} of {count} backends are healthy: {listed:#?}");
        }
    }

    /// What `llmctl backend list` says, as JSON.
    pub fn backends(&self) -> Vec<serde_json::Value> {
        let listed = self.llmctl(&["backend", "list", "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("-o json prints JSON");
        listed["backends"].as_array().cloned().unwrap_or_default()
    }

    /// What `llmctl ARGS` prints on stdout against this product.
    pub fn llmctl(&self, args: &[&str]) -> String {
        let mut command = Command::new(binary("llmctl"));
        let output = command.args(["--control", &self.control]).args(args).output().expect("llmctl starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "llmctl {args:?} failed: {said}");
        String::from_utf8(output.stdout).expect("llmctl prints UTF-8")
    }
}

/// Runs a script of tests/sdk with the SDKs that `tests/run` has fetched; true when every check of it passed.
pub fn script<S: AsRef<OsStr>>(file: &str, args: &[S]) -> bool {
    let interpreter = if file.ends_with(".py") { setting("LLMB_SDK_PYTHON") } else { "node".to_owned() };
    let mut command = Command::new(interpreter);
    command.arg(root().join("tests/sdk").join(file)).args(args);
    Running::start(file, &mut command).ended(SCRIPT_DEADLINE).success()
}
