//! Clients that ask several data planes in turn, each on a new connection, without a pause.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use crate::rig;

/// Failures that are kept; all are counted.
const FAILURES_KEPT: usize = 64;
/// One answer takes no longer, a queue of all others before it.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// After a failure, so that one that fails at once does not fill the log.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What a crowd was given.
#[derive(Debug, Default)]
struct Books {
    stop: AtomicBool,
    served: AtomicU64,
    failed: AtomicU64,
    /// When each client was served last, and what it asks for now.
    last: Mutex<Vec<(Instant, String)>>,
    failures: Mutex<Vec<String>>,
}

impl Books {
    fn serve(&self, number: usize) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.last.lock().unwrap_or_else(PoisonError::into_inner)[number].0 = Instant::now();
    }

    fn ask(&self, number: usize, what: String) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)[number].1 = what;
    }

    fn fail(&self, what: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < FAILURES_KEPT {
            failures.push(what);
        }
    }
}

/// The clients.
#[derive(Debug)]
pub struct Crowd {
    began: Instant,
    books: Arc<Books>,
    news: watch::Receiver<u64>,
    clients: Vec<JoinHandle<()>>,
}

/// Who asks for what: the number of the client and that of its request give the model and the length of the answer.
pub type Wish = fn(u64, u64) -> (&'static str, u64);

impl Crowd {
    /// `clients` that ask the data planes at these URLs. Where a connection is refused the next one is asked.
    #[must_use]
    pub fn start(clients: usize, urls: &[String], wish: Wish) -> Self {
        let books = Arc::new(Books {
            last: Mutex::new(vec![(Instant::now(), String::new()); clients]),
            ..Books::default()
        });
        let (said, news) = watch::channel(0);
        let said = Arc::new(said);
        let one = |number: usize| {
            let (books, said, urls) = (books.clone(), said.clone(), urls.to_vec());
            tokio::spawn(async move { client(number, &urls, wish, &books, &said).await })
        };
        Self { began: Instant::now(), clients: (0..clients).map(one).collect(), books, news }
    }

    /// How long it asks already.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Requests that were served.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.books.served.load(Ordering::Relaxed)
    }

    /// Requests that were not.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.books.failed.load(Ordering::Relaxed)
    }

    /// The first failures.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.books.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on for so long, and looks at `right` after each request.
    pub async fn during(&self, span: Duration, right: impl Fn()) {
        let mut news = self.news.clone();
        let all = async {
            while news.changed().await.is_ok() {
                right();
            }
        };
        // The time being over is how it should end.
        let _ = tokio::time::timeout(span, all).await;
        right();
    }

    /// Waits until each client was served since now; how long that took.
    ///
    /// # Errors
    /// What those asked for last who were not within `within`.
    pub async fn all_served(&self, within: Duration) -> Result<Duration, Vec<String>> {
        let (began, mut news) = (Instant::now(), self.news.clone());
        let left = || {
            let last = self.books.last.lock().unwrap_or_else(PoisonError::into_inner);
            let left = last.iter().enumerate().filter(|(_, (last, _))| *last < began);
            left.map(|(number, (_, what))| format!("client {number}: {what}")).collect::<Vec<_>>()
        };
        let all = async { while !left().is_empty() && news.changed().await.is_ok() {} };
        // What is left says it.
        let _ = tokio::time::timeout(within, all).await;
        let left = left();
        if left.is_empty() { Ok(began.elapsed()) } else { Err(left) }
    }

    /// Lets each client end its request; how many were served and how many not.
    ///
    /// # Panics
    /// When a client did.
    pub async fn end(self) -> (u64, u64) {
        self.books.stop.store(true, Ordering::Relaxed);
        for client in join_all(self.clients).await {
            client.expect("no panic");
        }
        (self.books.served.load(Ordering::Relaxed), self.books.failed.load(Ordering::Relaxed))
    }
}

async fn client(number: usize, urls: &[String], wish: Wish, books: &Books, said: &watch::Sender<u64>) {
    let (http, began) = (rig::patient(ANSWER_WITHIN), Instant::now());
    let mut pause = tokio::time::interval(AFTER_FAILURE);
    let mut turn = number;
    for request in 0.. {
        if books.stop.load(Ordering::Relaxed) {
            return;
        }
        turn += 1;
        let (model, tokens) = wish(number as u64, request);
        let at = |url: &str| {
            books.ask(number, format!("{model} at {url} since {:.1} s", began.elapsed().as_secs_f64()));
        };
        match ask(&http, (urls, turn), (model, tokens), at).await {
            Ok(()) => books.serve(number),
            Err(what) => {
                books.fail(format!("client {number} after {:.1} s: {what}", began.elapsed().as_secs_f64()));
                pause.reset();
                pause.tick().await;
            }
        }
        said.send_modify(|count| *count += 1);
    }
}

/// One request, at the data plane whose turn it is or the next that accepts a connection.
async fn ask(
    http: &reqwest::Client,
    (urls, turn): (&[String], usize),
    (model, tokens): (&str, u64),
    at: impl Fn(&str),
) -> Result<(), String> {
    let messages = json!([{"role": "user", "content": format!("say {tokens}")}]);
    let body = json!({"model": model, "stream": true, "max_tokens": tokens, "messages": messages});
    let mut refused = String::new();
    for next in 0..urls.len() {
        let url = &urls[(turn + next) % urls.len()];
        at(url);
        let sent = http.post(format!("{url}/v1/chat/completions")).json(&body).send().await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => {
                refused = format!("{url}: {error:?}");
                continue;
            }
            Err(error) => return Err(format!("{url}: {error:?}")),
        };
        let (status, text) =
            (answer.status(), answer.text().await.map_err(|error| format!("{url}: {error:?}"))?);
        return match status.as_u16() == 200 && text.ends_with("data: [DONE]\n\n") {
            true => Ok(()),
            false => Err(format!("{url}: {status} {}", text.chars().take(300).collect::<String>())),
        };
    }
    Err(format!("all refuse connections: {refused}"))
}
