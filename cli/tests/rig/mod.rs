//! The built `llmctl`, run as its users run it.
#![allow(dead_code, reason = "each test uses a part of the rig")]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// For a start, a command, a stop: far above what they take, far below what a stuck run would.
const DEADLINE: Duration = Duration::from_secs(60);

/// `llmctl up` on free ports; killed when dropped.
pub struct Up {
    child: Child,
    /// Speaks when its standard output is closed.
    ended: mpsc::Receiver<()>,
    /// All that it said before it served.
    pub said: String,
}

impl Up {
    /// Starts it and reads until it serves.
    pub fn start(arguments: &[&str]) -> Up {
        let ports =
            ["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let mut command = llmctl_command();
        command.arg("up").args(ports).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().expect("llmctl starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (send, receive) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let (end_send, ended) = mpsc::channel();
        let mut up = Up { child, ended, said: String::new() };
        let end = Instant::now() + DEADLINE;
        loop {
            let line = receive.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("up does not serve; it said:\n{}", up.said));
            up.said += &format!("{line}\n");
            if line == "Ctrl-C stops." {
                // Goes on reading, so that a full pipe holds nobody up.
                thread::spawn(move || {
                    receive.into_iter().for_each(drop);
                    end_send.send(())
                });
                return up;
            }
        }
    }

    /// The URL behind a word of what it said, such as "Serving at".
    pub fn url(&self, behind: &str) -> String {
        let rest = self.said.split_once(&format!("{behind} ")).expect("it says where").1;
        rest.split([',', '\n', ' ']).next().expect("it says where").to_owned()
    }

    /// The commands below "Try:".
    pub fn commands(&self) -> Vec<String> {
        let rest = self.said.split_once("Try:\n").expect("it says what to try").1;
        rest.lines().take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
    }

    /// Runs `llmctl` against it: exit code, stdout, stderr.
    pub fn llmctl(&self, line: &str) -> (i32, String, String) {
        let control = self.url("Managed at");
        llmctl(&format!("--control {control} {line}"))
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        self.ended.recv_timeout(DEADLINE).expect("it stops in time");
        self.child.wait().expect("it can be waited for").code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without the environment of whoever runs the tests.
fn llmctl_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmctl"));
    for variable in std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("LLMB_")) {
        command.env_remove(variable);
    }
    command
}

/// Runs `llmctl`, words by blanks: exit code, stdout, stderr.
pub fn llmctl(line: &str) -> (i32, String, String) {
    parts(llmctl_command().args(line.split_whitespace()).output().expect("llmctl runs"))
}

/// Runs a line in a shell.
pub fn shell(line: &str, folder: &Path) -> (i32, String, String) {
    parts(Command::new("sh").args(["-c", line]).current_dir(folder).output().expect("a shell runs"))
}

fn parts(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("llmctl writes UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
