//! Whether the control plane hears this data plane: where silence counts as death, work goes on by its answers.

use std::time::Duration;

use proto::v1;
use sched::Span;
use tokio::time::Instant;

/// Between two questions, where silence is no death for long or at all.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// So many questions fit in the silence that counts as death.
const BEATS: u64 = 8;

/// The questions of one session.
#[derive(Debug)]
pub struct Beats {
    /// The hello is the first of them, and whatever comes first answers it.
    asked: (u64, Option<Instant>),
    due: Instant,
}

impl Beats {
    /// Of a session whose hello was said then.
    pub fn new(hello: Instant) -> Self {
        Self { asked: (0, Some(hello)), due: hello + BEAT_EVERY }
    }

    /// When the next is due, where silence counts as death after `silence`.
    pub fn due(&self, silence: Option<Span>) -> Instant {
        match silence {
            Some(silence) => self.due.min(self.due - BEAT_EVERY + Duration::from_micros(silence.0 / BEATS)),
            None => self.due,
        }
    }

    /// The next question.
    pub fn ask(&mut self) -> v1::Beat {
        let now = Instant::now();
        self.asked = (self.asked.0 + 1, Some(now));
        self.due = now + BEAT_EVERY;
        v1::Beat { number: self.asked.0 }
    }

    /// Something came: when the question was asked that it answers, if it does.
    pub fn heard(&mut self, beat: Option<u64>) -> Option<std::time::Instant> {
        let answers = beat.map_or(self.asked.0 == 0, |beat| beat == self.asked.0);
        self.asked.1.take_if(|_| answers).map(Instant::into_std)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_from_its_question_and_once() {
        let hello = Instant::now();
        let mut beats = Beats::new(hello);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(beats.heard(None), Some(hello.into_std()));
        assert_eq!((beats.heard(None), beats.heard(Some(0))), (None, None));
        assert_eq!(beats.due(None), hello + BEAT_EVERY);
        assert_eq!(beats.due(Some(Span::from_secs(16))), hello + Duration::from_secs(2));
        assert_eq!(beats.due(Some(Span::from_secs(600))), hello + BEAT_EVERY);
        let (first, asked) = (beats.ask(), Instant::now());
        assert_eq!(beats.heard(None), None, "a snapshot answers no question");
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = beats.ask();
        assert_eq!(beats.heard(Some(first.number)), None, "the later one stands for it");
        assert_eq!(beats.heard(Some(second.number)), Some((asked + Duration::from_secs(1)).into_std()));
    }
}
