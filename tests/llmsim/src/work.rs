//! Requests that make the engine work: generation and embeddings.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    answer::{Fail, Request},
    ask::{self, Ask},
    dialect::{self, Dialect, Encode, End, Head, Piece, Plan},
    embed,
    engine::{Job, Step, Timing},
    fault::Fault,
    flow::{Answer, Flow, full},
    route::{Embed, Route},
    server::Server,
    settings::Kind,
    spoil,
    stats::Entry,
    text,
    trouble::{self, Trouble},
};

/// Requests that wait inside Ollama at most, its `OLLAMA_MAX_QUEUE`.
const OLLAMA_WAITING_MAX: u32 = 512;
/// Requests that wait inside the others at most.
const WAITING_MAX: u32 = 16_384;

type Outcome = Result<Response<Answer>, Fail>;

/// Does the work that a request asks for.
pub(crate) async fn work(server: &Server, entry: Entry, request: &Request) -> Outcome {
    match &request.route {
        Route::Generate { dialect, model, stream } => {
            let mut ask = ask::read(*dialect, model.as_deref(), &request.body).map_err(Trouble::Missing)?;
            // llama.cpp alone has a default.
            if *dialect == Dialect::Messages && ask.max.is_none() && server.settings.kind != Kind::Llamacpp {
                return Err(Trouble::Missing("max_tokens").into());
            }
            ask.stream = stream.unwrap_or(ask.stream);
            ask.model = server.model(&ask.model)?;
            generate(server, entry, request, *dialect, ask).await
        }
        Route::Embed(shape, model) => {
            // What is missing is said before what is unknown, as real servers do.
            embed::read(*shape, &request.body).map_err(Trouble::Missing)?;
            let asked = model.as_deref().or(request.body["model"].as_str()).unwrap_or_default();
            let model = server.model(asked)?;
            vectors(server, entry, request, *shape, model).await
        }
        Route::Count(..) | Route::Page(_) | Route::Missing => {
            let (method, path) = (request.parts.method.to_string(), request.parts.uri.path().to_owned());
            Err(Trouble::NoPath(method, path).into())
        }
    }
}

async fn generate(server: &Server, entry: Entry, request: &Request, dialect: Dialect, ask: Ask) -> Outcome {
    if request.fault == Some(Fault::Reset) {
        return Err(Fail::Reset);
    }
    let prompt_tokens = server.fit(text::tokens(ask.prompt.len()).max(1))?;
    let plan = Plan::new(&ask, server.settings.output_tokens);
    let head = Head::new(&server.settings, &ask, prompt_tokens, server.number(), request.sse);
    let cached = head.cached.clone();
    let short = spoil::short(&mut *dialect::encoder(dialect, head.clone()), &plan);
    let mut encoder = dialect::encoder(dialect, head);
    let error = trouble::body(server.settings.kind, dialect.surface(), &Trouble::Injected(500, None), 500);
    if let Some(fault) = spoil::at_once(request.fault.as_ref(), ask.stream) {
        return Ok(spoil::first(fault, ask.stream.then_some(&mut *encoder), &error));
    }
    let output_tokens = plan.pieces.len() as u32;
    let model = ask.model.clone();
    let job = Job {
        prompt: ask.prompt.as_str().into(),
        answer: plan.pieces.iter().map(Piece::text).collect(),
        cached,
        ..job(request, model, if ask.load_only { 0 } else { prompt_tokens }, output_tokens)
    };
    let mut steps = start(server, entry, job)?;
    if ask.stream {
        return stream(server, Flowing { steps, encoder, plan, error, short }, request.fault.as_ref()).await;
    }
    if matches!(request.fault, Some(Fault::StallMidStream { .. })) {
        let end = End { finish: plan.finish, output_tokens, timing: Timing::default() };
        return Ok(stuck(encoder.whole(&plan, &end).to_string(), steps));
    }
    let (timing, complete) = whole(&mut steps).await?;
    if ask.unload {
        server.engine.memory.remove(&ask.model);
    }
    let body = encoder.whole(&plan, &End { finish: plan.finish, output_tokens, timing }).to_string();
    Ok(finished(request, body, complete))
}

/// What a stream is made from.
struct Flowing {
    steps: mpsc::Receiver<Step>,
    encoder: Box<dyn Encode>,
    plan: Plan,
    /// What it says when it fails.
    error: Value,
    /// Bytes that are fewer than it has.
    short: u64,
}

async fn stream(server: &Server, flowing: Flowing, fault: Option<&Fault>) -> Outcome {
    let Flowing { mut steps, encoder, plan, error, short } = flowing;
    // Ollama, llama.cpp and OpenAI send their headers with the first token, the others before it.
    let early = match fault {
        Some(Fault::Stall | Fault::SlowStart(_)) => false,
        Some(Fault::StallAfterHeaders) => true,
        _ => matches!(server.settings.kind, Kind::LmStudio | Kind::Vllm | Kind::Anthropic | Kind::Gemini),
    };
    let first = if early { None } else { Some(steps.recv().await.ok_or(Fail::Broken)?) };
    if first == Some(Step::Die) {
        return Err(Fail::Broken);
    }
    let content_type = encoder.content_type();
    let mut flow = Flow::new(steps, encoder, plan, first);
    // It says at its beginning what was cached, which is known with the first token alone.
    let begins = server.settings.kind == Kind::Anthropic && !server.settings.cache;
    if early && begins && fault != Some(&Fault::StallAfterHeaders) {
        flow.begin();
    }
    match fault {
        Some(Fault::Garbage { after }) => flow.garbage(*after),
        Some(Fault::ErrorMidStream { .. }) => flow.last_words(error),
        _ => {}
    }
    let mut response = full(200, content_type, Bytes::new());
    *response.body_mut() = Answer::Stream(Box::new(flow));
    let (name, value) = match server.settings.kind {
        Kind::Llamacpp => ("x-accel-buffering", "no"),
        _ => ("cache-control", "no-cache"),
    };
    response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    spoil::mismeasure(fault, short, &mut response);
    Ok(response)
}

async fn vectors(server: &Server, entry: Entry, request: &Request, shape: Embed, model: String) -> Outcome {
    if request.fault == Some(Fault::Reset) {
        return Err(Fail::Reset);
    }
    let inputs = embed::read(shape, &request.body).map_err(Trouble::Missing)?;
    let prompt_tokens =
        inputs.iter().map(|text| text::tokens(text.len()).max(1)).fold(0, u32::saturating_add);
    if let Some(fault) = spoil::at_once(request.fault.as_ref(), false) {
        let body = trouble::body(server.settings.kind, request.surface, &Trouble::Injected(500, None), 500);
        return Ok(spoil::first(fault, None, &body));
    }
    let mut steps = start(server, entry, job(request, model.clone(), prompt_tokens, 0))?;
    if matches!(request.fault, Some(Fault::StallMidStream { .. })) {
        let timing = Timing::default();
        let body = embed::write(shape, &model, &inputs, &request.body, prompt_tokens, &timing).to_string();
        return Ok(stuck(body, steps));
    }
    let (timing, complete) = whole(&mut steps).await?;
    let body = embed::write(shape, &model, &inputs, &request.body, prompt_tokens, &timing).to_string();
    Ok(finished(request, body, complete))
}

fn job(request: &Request, model: String, prompt_tokens: u32, output_tokens: u32) -> Job {
    let fault = request.fault.as_ref();
    Job {
        model,
        prompt: Arc::from(""),
        prompt_tokens,
        answer: Arc::from([]),
        output_tokens,
        cached: Arc::default(),
        ending: spoil::ending(fault),
        delay: spoil::delay(fault),
    }
}

fn start(server: &Server, entry: Entry, job: Job) -> Result<mpsc::Receiver<Step>, Trouble> {
    let slots = server.settings.slots.max(1);
    let waiting = match (server.settings.strict_slots, server.settings.kind) {
        (true, _) => 0,
        (false, Kind::Ollama) => OLLAMA_WAITING_MAX,
        (false, _) => WAITING_MAX,
    };
    if !server.record.accept(slots.saturating_add(waiting)) {
        return Err(Trouble::Busy);
    }
    Ok(server.engine.start(entry, job))
}

/// Waits for an answer that is not streamed; `false` where it is to be cut.
async fn whole(steps: &mut mpsc::Receiver<Step>) -> Result<(Timing, bool), Fail> {
    loop {
        match steps.recv().await {
            Some(Step::Token) => {}
            Some(Step::Done(timing)) => return Ok((timing, true)),
            Some(Step::Truncate) => return Ok((Timing::default(), false)),
            Some(Step::Die) | None => return Err(Fail::Broken),
        }
    }
}

fn finished(request: &Request, body: String, complete: bool) -> Response<Answer> {
    let body = if complete { body } else { spoil::half(body) };
    let mut response = full(200, "application/json", body);
    spoil::mismeasure(request.fault.as_ref(), 0, &mut response);
    response
}

/// The first half of an answer that never goes on.
fn stuck(body: String, steps: mpsc::Receiver<Step>) -> Response<Answer> {
    let length = HeaderValue::from(body.len());
    let mut response = full(200, "application/json", Bytes::new());
    *response.body_mut() = Answer::Stuck { bytes: Some(spoil::half(body).into()), _steps: steps };
    response.headers_mut().insert(http::header::CONTENT_LENGTH, length);
    response
}
