//! What clients are sent: a whole answer of our own, or a relayed one.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{call::Late, forward::Passed};
use crate::relay::{Cut, Relay};

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// Our own, taken when sent.
    Whole(Option<Bytes>),
    /// A backend's.
    Relay(Box<Relay>),
    /// Another data plane's.
    Passed(Box<Passed>),
    /// One that is begun before there is an answer.
    Late(Box<Late>),
}

impl Body {
    /// A body of our own.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relay(relay) => relay.poll(cx),
            Self::Passed(passed) => passed.poll(cx),
            Self::Late(late) => late.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Passed(passed) => passed.size_hint().exact() == Some(0),
            Self::Relay(_) | Self::Late(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Whole(None) => SizeHint::with_exact(0),
            Self::Passed(passed) => passed.size_hint(),
            Self::Relay(_) | Self::Late(_) => SizeHint::default(),
        }
    }
}
