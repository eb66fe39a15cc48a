//! Questions to data planes, by their own listeners: where they are, one answer, a stream of lines.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use proto::v1;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use crate::{args::Global, client::Client, failure::Failure, name, render::plain};

/// A longer answer is not read.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// A longer line is not read.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A data plane's own listener.
#[derive(Clone, Debug)]
pub struct Door {
    /// Host and port.
    host: String,
    /// How it is known: by its id, or by what was given.
    pub name: String,
    timeout: Duration,
}

/// The doors of all data planes that follow the control plane, or the one that `--admin` names.
///
/// # Errors
/// As any call; [`Failure::Input`] for a URL that is none, [`Failure::Unavailable`] where nobody follows.
pub async fn doors(global: &Global, given: Option<&str>) -> Result<Vec<Door>, Failure> {
    let door = |host: &str, name: String| Door { host: host.to_owned(), name, timeout: global.timeout };
    if let Some(given) = given {
        let url = name::complete(given);
        let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let Some(host) = host.filter(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@'])) else {
            return Err(Failure::Input(format!(
                "--admin {given}: a URL such as http://127.0.0.1:8802 is wanted"
            )));
        };
        return Ok(vec![door(host, given.to_owned())]);
    }
    let client = Client::connect(global).await?;
    let status = client.answer(client.rpc().status(v1::StatusRequest {})).await?;
    let told = |plane: &&v1::DataPlane| plane.connected && !plane.admin.is_empty();
    let doors: Vec<Door> =
        status.data_planes.iter().filter(told).map(|plane| door(&plane.admin, plane.id.clone())).collect();
    if doors.is_empty() {
        return Err(Failure::Unavailable(
            "no data plane follows it that says where it can be asked; name one by --admin".to_owned(),
        ));
    }
    Ok(doors)
}

impl Door {
    /// Asks for `path`: the status and the JSON of the answer.
    ///
    /// # Errors
    /// [`Failure::NoPlane`] when it cannot be reached or answers anything else within `--timeout`.
    pub async fn ask(&self, path: &str) -> Result<(StatusCode, Value), Failure> {
        let asked = async {
            let response = self.send(path).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.failed(&error.to_string()))?.to_bytes();
            let value = serde_json::from_slice(&body).map_err(|error| self.failed(&error.to_string()))?;
            Ok((status, value))
        };
        timeout(self.timeout, asked).await.unwrap_or_else(|_| Err(self.failed("no answer in time")))
    }

    /// Asks for the lines at `path`.
    ///
    /// # Errors
    /// [`Failure::NoPlane`] when it cannot be reached or does not begin to tell within `--timeout`.
    pub async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        let begun = timeout(self.timeout, self.send(path)).await;
        let response = begun.unwrap_or_else(|_| Err(self.failed("no answer in time")))?;
        if response.status() != StatusCode::OK {
            let (_, said) = self.ask(path).await?;
            return Err(self.failed(&plain(said["error"].as_str().unwrap_or("it does not tell"))));
        }
        Ok(Lines { body: response.into_body(), read: BytesMut::new() })
    }

    async fn send(&self, path: &str) -> Result<Response<Incoming>, Failure> {
        let stream = TcpStream::connect(&self.host).await.map_err(|error| self.failed(&error.to_string()))?;
        let failed = |error: hyper::Error| self.failed(&error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // It ends with the answer, or with this process.
        tokio::spawn(connection);
        let request = Request::get(path).header("host", &self.host).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| self.failed(&error.to_string()))?;
        sender.send_request(request).await.map_err(failed)
    }

    fn failed(&self, reason: &str) -> Failure {
        Failure::NoPlane { name: self.name.clone(), host: self.host.clone(), reason: reason.to_owned() }
    }
}

/// Lines as they come.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    read: BytesMut,
}

impl Lines {
    /// The next line without its end; none when there are no more, or one is too long.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.read.len() > LINE_BYTES_MAX {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(chunk) = frame.into_data() {
                self.read.extend_from_slice(&chunk);
            }
        }
    }
}
