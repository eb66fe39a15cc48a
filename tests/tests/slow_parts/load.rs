//! Clients that ask without a pause, and what they were not given.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use futures_util::future::join_all;
use serde_json::json;
use tests::rig;
use tokio::task::JoinHandle;

use super::PATIENCE;

/// One request; what was wrong with it.
pub async fn ask(client: &reqwest::Client, url: &str, stream: bool) -> Result<(), String> {
    let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let sent = client.post(format!("{url}/v1/chat/completions")).json(&body).send().await;
    let answer = sent.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    let complete =
        if stream { text.ends_with("data: [DONE]\n\n") } else { text.contains("\"finish_reason\"") };
    if status == 200 && complete { Ok(()) } else { Err(format!("{status}: {text}")) }
}

/// Clients that ask without a pause until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn start(url: &str) -> Self {
        const CLIENTS: usize = 4;
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..CLIENTS).map(|number| {
            let (stop, served, url) = (stop.clone(), served.clone(), url.to_owned());
            tokio::spawn(async move {
                let (client, mut failed) = (rig::client(), Vec::new());
                while !stop.load(Ordering::Relaxed) && failed.len() < 10 {
                    match ask(&client, &url, number % 2 == 0).await {
                        Ok(()) => drop(served.fetch_add(1, Ordering::Relaxed)),
                        Err(what) => failed.push(what),
                    }
                }
                failed
            })
        });
        let clients = clients.collect();
        Self { stop, served, clients }
    }

    pub async fn more(&self, requests: u64) {
        let (began, before) = (Instant::now(), self.served.load(Ordering::Relaxed));
        while self.served.load(Ordering::Relaxed) < before + requests {
            assert!(began.elapsed() < PATIENCE, "requests are not served");
            tokio::task::yield_now().await;
        }
    }

    /// How many were served; all of them were.
    pub async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in join_all(self.clients).await {
            assert_eq!(client.expect("no panic"), Vec::<String>::new(), "requests failed");
        }
        self.served.load(Ordering::Relaxed)
    }
}
