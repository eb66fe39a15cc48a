//! One direction of a stream, as the one who speaks has it.

use std::sync::{Mutex, PoisonError};

use sched::permit::OPEN_MAX;
use tokio::sync::mpsc;

/// Messages that wait to be sent at most: all tickets of a data plane are told at once when it finds a lead. Room is
/// taken as they come.
pub const OUTBOX_MAX: usize = 2 * OPEN_MAX;

/// One direction of a stream: in order, and whole up to where it ends. Dropped, the stream ends.
#[derive(Debug)]
pub struct Outbox<T> {
    /// Gone once a message found no room: none behind it may get through.
    sender: Mutex<Option<mpsc::Sender<T>>>,
}

impl<T> Outbox<T> {
    /// An outbox, and where what is sent arrives; `None` there: the outbox was dropped, or a message found no room.
    #[must_use]
    pub fn pair() -> (Self, mpsc::Receiver<T>) {
        Self::bounded(OUTBOX_MAX)
    }

    fn bounded(messages_max: usize) -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(messages_max);
        (Self { sender: Mutex::new(Some(sender)) }, receiver)
    }

    /// Never waits. False: it is full or gone, and so is the stream.
    pub fn send(&self, message: T) -> bool {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sender.as_ref().is_some_and(|sender| sender.try_send(message).is_ok());
        if !sent {
            *sender = None;
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_message_that_found_no_room_none_gets_through() {
        let (outbox, mut inbox) = Outbox::bounded(2);
        assert!(outbox.send(1) && outbox.send(2));
        assert!(!outbox.send(3));
        assert_eq!(inbox.try_recv(), Ok(1));
        assert!(!outbox.send(4), "there is room, but 3 is missing");
        assert_eq!(inbox.try_recv(), Ok(2));
        assert_eq!(inbox.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn a_dropped_outbox_ends_behind_what_was_sent() {
        let (outbox, mut inbox) = Outbox::pair();
        assert!(outbox.send(1));
        drop(outbox);
        assert_eq!(inbox.try_recv(), Ok(1));
        assert_eq!(inbox.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }
}
