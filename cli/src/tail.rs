//! `llmctl tail`: a line for each request as it ends.

use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    admin,
    args::{Global, Output, Tail},
    failure::Failure,
    out::say,
    render,
};

/// Lines on their way to the terminal at most; a data plane whose lines are not read keeps some and then drops some.
const LINES_MAX: usize = 256;

/// Listens to all data planes until they stop, or for so many lines.
///
/// # Errors
/// [`Failure::NoPlane`] when one cannot be listened to.
pub async fn run(global: &Global, tail: Tail) -> Result<(), Failure> {
    let (send, mut lines) = mpsc::channel(LINES_MAX);
    for door in admin::doors(global, tail.admin.as_deref()).await? {
        let mut told = door.lines("/tail").await?;
        let send = send.clone();
        tokio::spawn(async move {
            while let Some(line) = told.next().await {
                if send.send(line).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(send);
    if global.output == Output::Table {
        say(&render::explain::heading());
    }
    let mut left = tail.lines.unwrap_or(u64::MAX);
    while left > 0
        && let Some(line) = lines.recv().await
    {
        match global.output {
            Output::Table => say(&render::explain::line(&serde_json::from_str(&line).unwrap_or(Value::Null))),
            Output::Json | Output::Yaml => say(&format!("{line}\n")),
        }
        left -= 1;
    }
    Ok(())
}
