//! Puts questions to a server over HTTP: in parallel, bounded in time and bytes, without redirects.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use reqwest::{
    Certificate, Client,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect,
};

use super::{
    answer::{Answer, Answers, Failure, Login, Question},
    secret::{self, Secret},
    verdict::{self, Verdict},
};
use crate::model::Backend;

/// Bytes of an answer that are read at most: lists of models can be long.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// The version of Anthropic's API that is asked.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Asks one backend.
pub struct Asker {
    client: Result<Client, Failure>,
    backend: Backend,
    timeout: Duration,
}

/// Answers and the fastest round trip of a good one, microseconds.
pub struct Asked {
    /// By question.
    pub answers: Answers,
    /// 0: none was good.
    pub rtt_us: u64,
}

impl Asker {
    /// An asker with its own connections. `timeout` bounds each question, body included.
    #[must_use]
    pub fn new(backend: &Backend, timeout: Duration) -> Self {
        Asker { client: client(backend, timeout), backend: backend.clone(), timeout }
    }

    /// A full identification.
    pub async fn identify(&self) -> (Verdict, u64) {
        let Asked { mut answers, rtt_us } = self.ask(&Question::all()).await;
        let further = verdict::further(&self.backend, &answers);
        if !further.is_empty() {
            answers.0.extend(self.ask(&further).await.answers.0);
        }
        (verdict::identify(&self.backend, &answers), rtt_us)
    }

    /// Asks all at once. Questions that log in otherwise get the secret in their own form.
    pub async fn ask(&self, questions: &[Question]) -> Asked {
        let secret = match &self.backend.credential {
            None => Ok(None),
            Some(credential) => secret::read(credential).await.map(Some),
        };
        let ready = match (&self.client, &secret) {
            (Ok(client), Ok(secret)) => Ok((client, secret.as_ref())),
            (Err(failure), _) => Err(failure.clone()),
            (_, Err(problem)) => Err(Failure::Secret(problem.clone())),
        };
        let (client, secret) = match ready {
            Ok(ready) => ready,
            Err(failure) => {
                let all = questions.iter().map(|question| (question.clone(), Err(failure.clone())));
                return Asked { answers: Answers(all.collect()), rtt_us: 0 };
            }
        };
        let mut open: FuturesUnordered<_> =
            questions.iter().map(|question| self.one(client, secret, question)).collect();
        let mut asked = Asked { answers: Answers::default(), rtt_us: 0 };
        while let Some((question, answer, took)) = open.next().await {
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                let took_us = (took.as_micros() as u64).max(1);
                asked.rtt_us = if asked.rtt_us == 0 { took_us } else { asked.rtt_us.min(took_us) };
            }
            asked.answers.0.insert(question, answer);
        }
        asked
    }

    async fn one(
        &self,
        client: &Client,
        secret: Option<&Secret>,
        question: &Question,
    ) -> (Question, Result<Answer, Failure>, Duration) {
        let began = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.exchange(client, secret, question)).await;
        let answer = answer.unwrap_or(Err(Failure::Late(self.timeout.as_millis())));
        (question.clone(), answer, began.elapsed())
    }

    async fn exchange(
        &self,
        client: &Client,
        secret: Option<&Secret>,
        question: &Question,
    ) -> Result<Answer, Failure> {
        let url = format!("{}{}", self.backend.url, question.path());
        let request = match question.body() {
            None => client.get(url),
            Some(body) => client.post(url).header(CONTENT_TYPE, "application/json").body(body.into_owned()),
        };
        let request = request.headers(login(question.login(), secret));
        let response = request.send().await.map_err(|error| self.failure(&error))?;
        let status = response.status().as_u16();
        let server = response.headers().get("server").and_then(|value| value.to_str().ok());
        let server = server.unwrap_or_default().to_owned();
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| self.failure(&error))?;
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(Failure::Large(BODY_BYTES_MAX));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(question.read(status, &server, &body))
    }

    fn failure(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::Late(self.timeout.as_millis());
        }
        let cause = cause(error);
        if error.is_connect() { Failure::Connect(cause) } else { Failure::Broken(cause) }
    }
}

/// The last cause: what the system or TLS said, without the URL.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    match last.downcast_ref::<std::io::Error>() {
        Some(system) if system.raw_os_error().is_some() => system.kind().to_string(),
        _ => last.to_string(),
    }
}

fn login(login: Login, secret: Option<&Secret>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if login == Login::Anthropic {
        headers.insert("anthropic-version", HeaderValue::from_static(ANTHROPIC_VERSION));
    }
    let Some(secret) = secret else { return headers };
    let (name, value) = match login {
        Login::Bearer => (AUTHORIZATION, format!("Bearer {}", secret.expose())),
        Login::Anthropic => (HeaderName::from_static("x-api-key"), secret.expose().to_owned()),
        Login::Gemini => (HeaderName::from_static("x-goog-api-key"), secret.expose().to_owned()),
    };
    if let Ok(mut value) = HeaderValue::try_from(value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers
}

fn client(backend: &Backend, timeout: Duration) -> Result<Client, Failure> {
    // Another part of the process may have chosen the provider already: it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(timeout)
        .timeout(timeout)
        .user_agent(concat!("llmb-control/", env!("CARGO_PKG_VERSION")));
    if !backend.url.is_https() {
        // A kept connection holds one of llama.cpp's few threads; and no roots are read where none are needed.
        builder = builder.pool_max_idle_per_host(0).tls_certs_only([]);
    } else if let Some(path) = &backend.ca_file {
        let authority = |problem: String| Failure::Authority(format!("ca_file {path:?}: {problem}"));
        let pem = std::fs::read(path).map_err(|problem| authority(problem.to_string()))?;
        let roots = Certificate::from_pem_bundle(&pem).map_err(|problem| authority(cause(&problem)))?;
        if roots.is_empty() {
            return Err(authority("holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_only(roots);
    }
    builder.build().map_err(|problem| Failure::Broken(cause(&problem)))
}
