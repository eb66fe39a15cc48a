//! Wakes that nobody needs, held back: hyper wakes a connection for each piece that is taken of a body, and for the
//! last one there is nothing left to do.

use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};

/// What becomes of a wake on this thread.
#[derive(Default)]
enum Fate {
    #[default]
    Passed,
    Awaited,
    Held(Arc<Passage>),
}

thread_local! {
    static FATE: Cell<Fate> = const { Cell::new(Fate::Passed) };
}

/// What a wake goes through on its way to the task.
struct Passage(Waker);

impl Wake for Passage {
    fn wake(self: Arc<Self>) {
        // A thread that ends holds nothing back.
        let fate = FATE.try_with(Cell::take).unwrap_or_default();
        let next = match fate {
            Fate::Passed => return self.0.wake_by_ref(),
            Fate::Awaited => Fate::Held(self),
            Fate::Held(first) => {
                self.0.wake_by_ref();
                Fate::Held(first)
            }
        };
        FATE.set(next);
    }
}

/// From here until it is dropped the first wake through a gate is held back, then passed on.
struct Hold;

impl Hold {
    fn begin() -> Self {
        FATE.set(Fate::Awaited);
        Self
    }

    /// Drops what was held back.
    fn forget(self) {
        FATE.take();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Fate::Held(passage) = FATE.take() {
            passage.0.wake_by_ref();
        }
    }
}

/// The gate of a task: polled with its waker, a connection can be spared wakes.
#[derive(Debug, Default)]
pub struct Gate(Option<(Waker, Waker)>);

impl Gate {
    /// A waker of the task that `cx` is of, through the gate.
    pub fn waker(&mut self, cx: &Context<'_>) -> &Waker {
        let wakers = match self.0.take() {
            Some(wakers) if wakers.0.will_wake(cx.waker()) => wakers,
            _ => (cx.waker().clone(), Arc::new(Passage(cx.waker().clone())).into()),
        };
        &self.0.insert(wakers).1
    }
}

/// A connection polled through a gate of its own.
#[derive(Debug)]
pub struct Gated<F> {
    connection: F,
    gate: Gate,
}

impl<F> Gated<F> {
    /// Runs `connection`.
    pub fn new(connection: F) -> Self {
        Self { connection, gate: Gate::default() }
    }
}

impl<F: Future + Unpin> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { connection, gate } = &mut *self;
        Pin::new(connection).poll(&mut Context::from_waker(gate.waker(cx)))
    }
}

/// The next piece of a body that a connection behind a [`Gate`] brings, which is not woken for the last one.
pub fn poll_frame(
    body: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    // Only a body of known length tells its last piece.
    if body.size_hint().exact().is_none() {
        return Pin::new(body).poll_frame(cx);
    }
    let hold = Hold::begin();
    let frame = Pin::new(&mut *body).poll_frame(cx);
    if body.is_end_stream() {
        hold.forget();
    }
    frame
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::{client, server, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::task::LocalSet;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_is_passed_held_or_forgotten() {
        let count = Arc::new(Count::default());
        let gate = Waker::from(Arc::new(Passage(Waker::from(count.clone()))));
        let woken = || count.0.load(Ordering::Relaxed);
        gate.wake_by_ref();
        assert_eq!(woken(), 1);
        let hold = Hold::begin();
        gate.wake_by_ref();
        assert_eq!(woken(), 1);
        drop(hold);
        assert_eq!(woken(), 2);
        let hold = Hold::begin();
        gate.wake_by_ref();
        gate.wake_by_ref();
        assert_eq!(woken(), 3, "one alone is held back");
        hold.forget();
        assert_eq!(woken(), 3);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let _hold = Hold::begin();
            gate.wake_by_ref();
            panic!("the poll fails");
        }));
        assert!(failed.is_err());
        assert_eq!(woken(), 4);
        gate.wake();
        assert_eq!(woken(), 5);
    }

    /// Reads a body to its end and says how long it was.
    async fn length(mut body: Incoming) -> usize {
        let mut length = 0;
        while !body.is_end_stream() {
            let Some(frame) = poll_fn(|cx| poll_frame(&mut body, cx)).await else { break };
            length += frame.unwrap().into_data().map_or(0, |data| data.len());
        }
        length
    }

    /// Bodies of known length in one piece and in many, through pipes that fill up, one request after another.
    #[tokio::test]
    async fn no_wake_is_missed() {
        let run = LocalSet::new();
        let all = run.run_until(async {
            for pipe in [64, 4096, 1 << 20] {
                let (near, far) = tokio::io::duplex(pipe);
                let service = service_fn(async |request: Request<Incoming>| {
                    let length = length(request.into_body()).await;
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(vec![b'x'; length]))))
                });
                let served = server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
                tokio::task::spawn_local(Gated::new(served));
                let (mut sender, connection) =
                    client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
                tokio::task::spawn_local(Gated::new(connection));
                for size in [0, 1, 63, 64, 65, 1000, 8192, 8193, 100_000, 1] {
                    sender.ready().await.unwrap();
                    let asked = Request::new(Full::new(Bytes::from(vec![b'a'; size])));
                    let answer = sender.send_request(asked).await.unwrap();
                    assert_eq!(length(answer.into_body()).await, size, "through {pipe}");
                }
            }
        });
        tokio::time::timeout(std::time::Duration::from_secs(60), all).await.expect("a wake is missed");
    }
}
