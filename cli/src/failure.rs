//! Why a command did not do what was asked, what to do next, and the exit code for it.

use std::{error::Error as _, time::Duration};

use tonic::{Code, Status};

use crate::render;

/// A failed command. Each variant has one exit code; `--help` lists them.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing more special applies.
    #[error("{0}")]
    Failed(String),
    /// Wrong usage or bad input; the text names what and where.
    #[error("{0}")]
    Input(String),
    /// No such resource.
    #[error("{0}")]
    NotFound(String),
    /// It is at another revision.
    #[error("{0}")]
    Conflict(String),
    /// It exists already.
    #[error("{0}")]
    Exists(String),
    /// Routes name it; the text is what the control plane said.
    #[error("{said}")]
    InUse { said: String, routes: Vec<String> },
    /// Something answers at this URL, and it is no control plane.
    #[error("no management API at {url}: {reason}")]
    NoApi { url: String, reason: String },
    /// No control plane answered at this URL.
    #[error("no control plane at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// The control plane did not answer in time.
    #[error("no answer from {url} within {} ms", .after.as_millis())]
    Late { url: String, after: Duration },
    /// The control plane answers but cannot do it now.
    #[error("the control plane cannot do it now: {0}")]
    Unavailable(String),
    /// A data plane could not be asked.
    #[error("data plane {name} cannot be asked at {host}: {reason}")]
    NoPlane { name: String, host: String, reason: String },
    /// No data plane knows the request.
    #[error("no data plane knows request {id}")]
    Unknown { id: String },
    /// The change is made, but what was waited for did not come.
    #[error("backend {name} is added but {but}")]
    Waited { name: String, but: String },
}

impl Failure {
    /// The failure behind a gRPC status. Decided by its code alone, never by its text.
    pub fn from_status(status: &Status, url: &str) -> Failure {
        let said = status.message().to_owned();
        // A status with a source was made here: no control plane has sent it.
        if let Some(source) = status.source() {
            return Failure::NoApi { url: url.to_owned(), reason: innermost(source) };
        }
        match status.code() {
            Code::Unimplemented => {
                Failure::NoApi { url: url.to_owned(), reason: "it knows no such call".to_owned() }
            }
            Code::AlreadyExists => Failure::Exists(said),
            Code::FailedPrecondition => Failure::InUse { said, routes: Vec::new() },
            Code::InvalidArgument | Code::OutOfRange => Failure::Input(said),
            Code::NotFound => Failure::NotFound(said),
            Code::Aborted => Failure::Conflict(said),
            Code::Unavailable | Code::ResourceExhausted => Failure::Unavailable(said),
            code => Failure::Failed(format!("the control plane answered {code:?}: {said}")),
        }
    }

    /// The process's exit code, 1 to 6.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Input(_) => 2,
            Failure::NotFound(_) | Failure::Unknown { .. } => 3,
            Failure::Conflict(_) | Failure::Exists(_) | Failure::InUse { .. } => 4,
            Failure::Unreachable { .. }
            | Failure::NoApi { .. }
            | Failure::Late { .. }
            | Failure::NoPlane { .. }
            | Failure::Unavailable(_) => 5,
            Failure::Waited { .. } => 6,
        }
    }

    /// What to do next, where that is not in the message itself.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Failure::Failed(_) | Failure::Input(_) => return None,
            Failure::NotFound(_) => {
                "`llmctl backend list`, `llmctl route list` and `llmctl dataplane list` show what there is"
            }
            Failure::Conflict(_) => {
                "look at it again with `llmctl backend get` or `llmctl route list`, then repeat the command"
            }
            Failure::Exists(_) => {
                "`llmctl backend update` changes a backend, `llmctl apply -f FILE` backends and routes"
            }
            Failure::InUse { routes, .. } => {
                let commands: Vec<String> = routes
                    .iter()
                    .map(|name| format!("`llmctl route delete {}`", render::plain(name)))
                    .collect();
                return (!commands.is_empty()).then(|| commands.join(", "));
            }
            Failure::Unreachable { .. } => {
                "start one with `llmctl up` or llmb-control, or name it by --control or LLMB_CONTROL"
            }
            Failure::NoApi { .. } => "it usually listens on :8801; name it by --control or LLMB_CONTROL",
            Failure::Late { .. } => "allow it more by --timeout, or look at the log of the control plane",
            Failure::NoPlane { .. } => {
                "it must be reachable from here: run this beside it, or name another address by --admin"
            }
            Failure::Unknown { .. } => {
                "each keeps its latest 1,024, in memory; the id is what x-llmb-request-id said in the answer"
            }
            Failure::Unavailable(_) => "repeat it later; the log of the control plane says more",
            Failure::Waited { name, .. } => {
                let name = render::plain(name);
                return Some(format!(
                    "it is probed again and again: `llmctl backend get {name}` shows how it stands"
                ));
            }
        };
        Some(hint.to_owned())
    }

    /// The lines for stderr.
    pub fn report(&self) -> String {
        match self.hint() {
            Some(hint) => format!("error: {self}\n{hint}\n"),
            None => format!("error: {self}\n"),
        }
    }
}

/// The innermost cause: the outer ones say only "transport error".
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grpc_code_has_its_exit_code() {
        for (code, exit) in [
            (Code::InvalidArgument, 2),
            (Code::OutOfRange, 2),
            (Code::NotFound, 3),
            (Code::AlreadyExists, 4),
            (Code::Aborted, 4),
            (Code::FailedPrecondition, 4),
            (Code::Unavailable, 5),
            (Code::ResourceExhausted, 5),
            (Code::Internal, 1),
            (Code::Unimplemented, 5),
            (Code::Unknown, 1),
        ] {
            assert_eq!(
                Failure::from_status(&Status::new(code, "said"), "http://h:1").code(),
                exit,
                "{code:?}"
            );
        }
    }

    #[test]
    fn the_other_failures_have_theirs() {
        let unreachable = Failure::Unreachable { url: "http://h:1".to_owned(), reason: "refused".to_owned() };
        assert_eq!(unreachable.code(), 5);
        assert!(
            unreachable.report().starts_with("error: no control plane at http://h:1: refused\nstart one")
        );
        let late = Failure::Late { url: "http://h:1".to_owned(), after: Duration::from_secs(2) };
        assert_eq!((late.code(), late.to_string().as_str()), (5, "no answer from http://h:1 within 2000 ms"));
        let waited = Failure::Waited { name: "box".to_owned(), but: "not healthy".to_owned() };
        assert_eq!(waited.code(), 6);
        assert!(waited.report().contains("`llmctl backend get box`"), "{}", waited.report());
        let status = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        let lost = Failure::from_status(&status, "http://h:1");
        assert_eq!(
            (lost.code(), lost.to_string().as_str()),
            (5, "no management API at http://h:1: broken pipe")
        );
        let used = Failure::InUse { said: "in use".to_owned(), routes: vec!["fast".to_owned()] };
        assert_eq!(used.report(), "error: in use\n`llmctl route delete fast`\n");
        assert_eq!(Failure::Failed("x".to_owned()).report(), "error: x\n");
    }
}
