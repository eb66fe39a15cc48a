//! What can be made to go wrong, and for how many requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One way to fail.
///
/// `Refuse`, `Deaf`, `ResetAtAccept`, `HalfOpen`, `Html` and `Redirect` concern the whole server; the others the
/// requests that make it work (generation and embeddings), so that probes go on as before; see
/// [`Scope`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The listener is closed, and every connection with it, until the fault is cleared.
    Refuse,
    /// As of a peer that is dead: no connection comes about, and none is refused, until cleared.
    Deaf,
    /// Every new connection is reset.
    ResetAtAccept,
    /// New connections come about, and nothing is ever read from them.
    HalfOpen,
    /// The request is read, then the connection is reset.
    Reset,
    /// No answer at all.
    Stall,
    /// Status and headers, then nothing.
    StallAfterHeaders,
    /// The connection breaks after so many tokens; an answer that is not streamed never starts.
    DieMidStream {
        /// Tokens sent before.
        after: u32,
    },
    /// The stream falls silent after so many tokens; a body that is not streamed in the middle.
    StallMidStream {
        /// Tokens sent before.
        after: u32,
    },
    /// The body ends cleanly after so many tokens without the dialect's last event; a body that is
    /// not streamed ends in the middle of its JSON.
    Truncate {
        /// Tokens sent before.
        after: u32,
    },
    /// An error status with a body in the shape of the kind.
    Status {
        /// The HTTP status.
        code: u16,
        /// Seconds in `retry-after`.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// 200 with something that is not JSON where JSON belongs.
    BadJson,
    /// The stream goes on after so many tokens with an element that is not JSON; a body that is not streamed is
    /// as with `BadJson`.
    Garbage {
        /// Tokens sent before.
        after: u32,
    },
    /// 200 with an error as first element of the stream, or as the body.
    ErrorFirst,
    /// The stream ends after so many tokens with an error in its dialect; a body that is not streamed is as with
    /// `ErrorFirst`.
    ErrorMidStream {
        /// Tokens sent before.
        after: u32,
    },
    /// The engine starts so much later; in JSON a number of milliseconds.
    #[serde(with = "millis")]
    SlowStart(Duration),
    /// 200 `text/html` to everything.
    Html,
    /// 307 to another host, to everything.
    Redirect,
    /// A `content-length` that is larger than the body that follows.
    WrongLength,
    /// A `content-length` that is smaller than the body that follows.
    ShortLength,
    /// A whole answer with its length, and more bytes behind it; a stream is as ever.
    Trailing,
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(value.as_millis() as u64)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        u64::deserialize(input).map(Duration::from_millis)
    }
}

/// Which requests a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Requests that make the engine work.
    Work,
    /// Every request, save `/_sim/`.
    All,
}

impl Fault {
    /// The scope of a fault for which none was named.
    pub fn scope(&self) -> Scope {
        match self {
            Fault::Refuse
            | Fault::Deaf
            | Fault::ResetAtAccept
            | Fault::HalfOpen
            | Fault::Html
            | Fault::Redirect => Scope::All,
            _ => Scope::Work,
        }
    }

    /// Whether nobody can connect while it lasts.
    pub(crate) fn shuts(&self) -> bool {
        matches!(self, Fault::Refuse | Fault::Deaf)
    }
}

/// The fault in force.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Armed {
    pub fault: Fault,
    pub scope: Scope,
    /// How often it still strikes; `None` until cleared.
    pub times: Option<u32>,
}

/// Takes one strike of `armed` for a request (`work` says whether it makes the engine work), or for
/// a connection when `accept` is set. A fault that has struck often enough is gone.
pub(crate) fn strike(armed: &mut Option<Armed>, work: bool, accept: bool) -> Option<Fault> {
    let this = armed.as_mut()?;
    let meets = match this.fault {
        Fault::Refuse | Fault::Deaf => false,
        Fault::ResetAtAccept | Fault::HalfOpen => accept,
        _ => !accept && (work || this.scope == Scope::All),
    };
    if !meets {
        return None;
    }
    let fault = this.fault.clone();
    if let Some(left) = this.times.as_mut() {
        *left = left.saturating_sub(1);
        if *left == 0 {
            *armed = None;
        }
    }
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_asked() {
        let mut armed = Some(Armed { fault: Fault::Stall, scope: Scope::Work, times: Some(2) });
        assert_eq!(strike(&mut armed, false, false), None);
        assert_eq!(strike(&mut armed, true, false), Some(Fault::Stall));
        assert_eq!(strike(&mut armed, true, true), None);
        assert_eq!(strike(&mut armed, true, false), Some(Fault::Stall));
        assert_eq!(armed, None);
    }

    #[test]
    fn faults_have_a_plain_json_form() {
        for (fault, text) in [
            (Fault::Refuse, r#""refuse""#),
            (Fault::DieMidStream { after: 3 }, r#"{"die_mid_stream":{"after":3}}"#),
            (Fault::SlowStart(Duration::from_millis(250)), r#"{"slow_start":250}"#),
            (Fault::Status { code: 429, retry_after: None }, r#"{"status":{"code":429,"retry_after":null}}"#),
        ] {
            assert_eq!(serde_json::to_string(&fault).unwrap(), text);
            assert_eq!(serde_json::from_str::<Fault>(text).unwrap(), fault);
        }
    }
}
