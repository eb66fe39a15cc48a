//! Errors, in the shape that each kind gives them.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    flow::{Answer, full},
    settings::Kind,
};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    NoModel(String),
    /// The prompt does not fit: its tokens, the limit.
    Overflow(u32, u32),
    Unauthorized,
    Invalid(String),
    /// A member of the body is missing.
    Missing(&'static str),
    NoPath(String, String),
    Loading,
    Busy,
    /// A status that was asked for by [`crate::Fault::Status`].
    Injected(u16, Option<u32>),
}

/// The family of shapes a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    Native,
    Openai,
    Anthropic,
    /// Gemini's streams without `alt=sse`: errors are in an array too.
    GeminiArray,
}

/// The response for a trouble.
pub(crate) fn answer(kind: Kind, surface: Surface, trouble: &Trouble) -> Response<Answer> {
    if let (Kind::LmStudio, Trouble::NoPath(method, path)) = (kind, trouble) {
        let body = json!({"error": format!("Unexpected endpoint or method. ({method} {path})")});
        return full(200, "application/json; charset=utf-8", body.to_string());
    }
    if let (Kind::Ollama, Trouble::NoPath(..)) = (kind, trouble) {
        return full(404, "text/plain", "404 page not found");
    }
    let status = status(kind, surface, trouble);
    let mut response = full(status, "application/json", body(kind, surface, trouble, status).to_string());
    if let Trouble::Injected(_, Some(seconds)) = trouble {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
    }
    if status == StatusCode::UNAUTHORIZED.as_u16() && matches!(kind, Kind::Vllm | Kind::Openai) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The error body alone, as it also stands in a stream.
pub(crate) fn body(kind: Kind, surface: Surface, trouble: &Trouble, status: u16) -> Value {
    let message = message(kind, surface, trouble);
    match (kind, surface) {
        (Kind::Ollama, Surface::Native) => json!({"error": message}),
        (Kind::Llamacpp, _) => llamacpp(trouble, status, &message),
        (Kind::Gemini, Surface::GeminiArray) => json!([gemini(trouble, status, &message)]),
        (Kind::Gemini, _) => gemini(trouble, status, &message),
        (_, Surface::Anthropic) | (Kind::Anthropic, _) => anthropic(trouble, status, &message),
        (Kind::Vllm, _) => match trouble {
            Trouble::NoPath(..) => json!({"detail": "Not Found"}),
            Trouble::Unauthorized => json!({"error": "Unauthorized"}),
            _ => json!({"error": {
                "message": message, "type": vllm_type(status), "param": vllm_param(trouble), "code": status
            }}),
        },
        _ => openai(trouble, status, &message),
    }
}

fn status(kind: Kind, surface: Surface, trouble: &Trouble) -> u16 {
    match trouble {
        Trouble::NoModel(_) | Trouble::NoPath(..) => 404,
        Trouble::Overflow(..) | Trouble::Invalid(_) | Trouble::Missing(_) => 400,
        Trouble::Unauthorized => 401,
        Trouble::Loading => 503,
        Trouble::Busy => match (kind, surface) {
            (Kind::Openai | Kind::Gemini, _) => 429,
            (Kind::Anthropic, _) => 529,
            _ => 503,
        },
        Trouble::Injected(code, _) => *code,
    }
}

fn message(kind: Kind, surface: Surface, trouble: &Trouble) -> String {
    match trouble {
        Trouble::NoModel(model) => match (kind, surface) {
            (Kind::Ollama, Surface::Native) => format!("model '{model}' not found"),
            (Kind::Ollama, _) => format!("model \"{model}\" not found, try pulling it first"),
            (Kind::Vllm, _) => format!("The model `{model}` does not exist."),
            (Kind::Anthropic, _) => format!("model: {model}"),
            (Kind::Gemini, _) => format!(
                "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods."
            ),
            (Kind::LmStudio, _) => format!("Model \"{model}\" not found. Please specify a valid model."),
            _ => format!("The model `{model}` does not exist or you do not have access to it."),
        },
        Trouble::Overflow(prompt, limit) => match (kind, surface) {
            (Kind::Llamacpp, _) => format!(
                "request ({prompt} tokens) exceeds the available context size ({limit} tokens), try increasing it"
            ),
            (Kind::Gemini, _) => format!(
                "The input token count ({prompt}) exceeds the maximum number of tokens allowed ({limit})."
            ),
            (_, Surface::Anthropic) => format!("prompt is too long: {prompt} tokens > {limit} maximum"),
            _ => format!(
                "This model's maximum context length is {limit} tokens. However, your request has {prompt} input tokens. Please reduce the length of the input messages."
            ),
        },
        Trouble::Unauthorized => match kind {
            Kind::Anthropic => "invalid x-api-key".to_owned(),
            Kind::Gemini => "API key not valid. Please pass a valid API key.".to_owned(),
            Kind::Llamacpp => "Invalid API Key".to_owned(),
            Kind::Ollama => "unauthorized".to_owned(),
            _ => "Incorrect API key provided. You can find your API key in your settings.".to_owned(),
        },
        Trouble::Invalid(what) => what.clone(),
        Trouble::Missing(name) => match (kind, surface) {
            (Kind::Llamacpp, _) => format!("'{name}' is required"),
            (Kind::Gemini, _) => format!("* GenerateContentRequest.{name}: {name} is not specified\n"),
            (_, Surface::Anthropic) => format!("{name}: Field required"),
            (Kind::Ollama, _) => format!("[] is too short - '{name}'"),
            (Kind::Openai, _) => format!("Missing required parameter: '{name}'."),
            (Kind::LmStudio, _) => format!("'{name}' field is required"),
            _ => format!("1 validation error: ('body', '{name}'): Field required"),
        },
        Trouble::NoPath(method, path) => match kind {
            Kind::Llamacpp => "File Not Found".to_owned(),
            Kind::Anthropic => "Not found".to_owned(),
            _ => format!("Invalid URL ({method} {path})"),
        },
        Trouble::Loading => "Loading model".to_owned(),
        Trouble::Busy => match (kind, surface) {
            (Kind::Ollama, _) => {
                "server busy, please try again.  maximum pending requests exceeded".to_owned()
            }
            (Kind::Anthropic, _) => "Overloaded".to_owned(),
            (Kind::Gemini, _) => "Resource has been exhausted (e.g. check quota).".to_owned(),
            _ => "Rate limit reached for requests".to_owned(),
        },
        Trouble::Injected(code, _) => format!("simulated status {code}"),
    }
}

fn openai(trouble: &Trouble, status: u16, message: &str) -> Value {
    let (kind, param, code) = match trouble {
        Trouble::NoModel(_) => ("invalid_request_error", Value::Null, json!("model_not_found")),
        Trouble::Overflow(..) => {
            ("invalid_request_error", json!("messages"), json!("context_length_exceeded"))
        }
        Trouble::Unauthorized => ("invalid_request_error", Value::Null, json!("invalid_api_key")),
        Trouble::Missing(name) => ("invalid_request_error", json!(name), json!("missing_required_parameter")),
        Trouble::Busy | Trouble::Injected(429, _) => ("requests", Value::Null, json!("rate_limit_exceeded")),
        _ if status >= 500 => ("server_error", Value::Null, Value::Null),
        _ => ("invalid_request_error", Value::Null, Value::Null),
    };
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

fn anthropic(trouble: &Trouble, status: u16, message: &str) -> Value {
    let kind = match (trouble, status) {
        (Trouble::Busy, _) | (_, 529 | 503) => "overloaded_error",
        (_, 400) => "invalid_request_error",
        (_, 401) => "authentication_error",
        (_, 403) => "permission_error",
        (_, 404) => "not_found_error",
        (_, 413) => "request_too_large",
        (_, 429) => "rate_limit_error",
        (_, 504) => "timeout_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim"})
}

fn gemini(trouble: &Trouble, status: u16, message: &str) -> Value {
    // AI Studio answers 400 to a wrong key; the simulated one keeps the status it is asked for.
    let name = match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    let mut error = json!({"code": status, "message": message, "status": name});
    if let Trouble::Injected(_, Some(seconds)) = trouble {
        let retry =
            json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")});
        error["details"] = json!([retry]);
    }
    json!({"error": error})
}

fn llamacpp(trouble: &Trouble, status: u16, message: &str) -> Value {
    let kind = match (trouble, status) {
        (Trouble::Overflow(..), _) => "exceed_context_size_error",
        (_, 400) => "invalid_request_error",
        (_, 401) => "authentication_error",
        (_, 403) => "permission_error",
        (_, 404) => "not_found_error",
        (_, 501) => "not_supported_error",
        (_, 503) => "unavailable_error",
        _ => "server_error",
    };
    let mut error = json!({"code": status, "message": message, "type": kind});
    if let Trouble::Overflow(prompt, limit) = trouble {
        error["n_prompt_tokens"] = json!(prompt);
        error["n_ctx"] = json!(limit);
    }
    json!({"error": error})
}

fn vllm_type(status: u16) -> &'static str {
    match status {
        400 => "BadRequestError",
        404 => "NotFoundError",
        429 => "TooManyRequestsError",
        503 => "ServiceUnavailableError",
        _ => "InternalServerError",
    }
}

fn vllm_param(trouble: &Trouble) -> Value {
    match trouble {
        Trouble::NoModel(_) => json!("model"),
        Trouble::Overflow(..) => json!("input_tokens"),
        _ => Value::Null,
    }
}
