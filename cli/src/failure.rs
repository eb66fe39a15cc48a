//! Why a command did not do what was asked, what to do next, and the exit code for it.

use std::time::Duration;

use tonic::{Code, Status};

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
    /// It exists already, or is at another revision.
    #[error("{0}")]
    Conflict(String),
    /// No control plane answered at this URL.
    #[error("no control plane at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// The control plane did not answer in time.
    #[error("no answer from {url} within {} ms", .after.as_millis())]
    Late { url: String, after: Duration },
    /// The control plane answers but cannot do it now.
    #[error("the control plane cannot do it now: {0}")]
    Unavailable(String),
    /// The change is made, but what was waited for did not come.
    #[error("{0}")]
    Waited(String),
}

impl Failure {
    /// The failure behind a gRPC status. Decided by its code alone, never by its text.
    pub fn from_status(status: &Status) -> Failure {
        let said = status.message().to_owned();
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => Failure::Input(said),
            Code::NotFound => Failure::NotFound(said),
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Failure::Conflict(said),
            Code::Unavailable | Code::ResourceExhausted => Failure::Unavailable(said),
            code => Failure::Failed(format!("the control plane answered {code:?}: {said}")),
        }
    }

    /// The process's exit code, 1 to 6.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Input(_) => 2,
            Failure::NotFound(_) => 3,
            Failure::Conflict(_) => 4,
            Failure::Unreachable { .. } | Failure::Late { .. } | Failure::Unavailable(_) => 5,
            Failure::Waited(_) => 6,
        }
    }

    /// What to do next, where that is not in the message itself.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Failure::Failed(_) | Failure::Input(_) => None,
            Failure::NotFound(_) => Some("`llmctl backend list` and `llmctl route list` show what there is"),
            Failure::Conflict(_) => Some("look at it again with `list` or `get`, then repeat the command"),
            Failure::Unreachable { .. } => {
                Some("start one with `llmctl up` or llmb-control, or name it by --control or LLMB_CONTROL")
            }
            Failure::Late { .. } => {
                Some("allow it more by --timeout, or look at the log of the control plane")
            }
            Failure::Unavailable(_) => Some("repeat it later; the log of the control plane says more"),
            Failure::Waited(_) => {
                Some("it is probed again and again: `llmctl backend get` shows how it stands")
            }
        }
    }

    /// The lines for stderr.
    pub fn report(&self) -> String {
        match self.hint() {
            Some(hint) => format!("error: {self}\n{hint}\n"),
            None => format!("error: {self}\n"),
        }
    }
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
            (Code::Unimplemented, 1),
            (Code::Unknown, 1),
        ] {
            assert_eq!(Failure::from_status(&Status::new(code, "said")).code(), exit, "{code:?}");
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
        assert_eq!(Failure::Waited(String::new()).code(), 6);
        assert_eq!(Failure::Failed("x".to_owned()).report(), "error: x\n");
    }
}
