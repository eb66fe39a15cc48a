//! `llmctl explain`: how a request was placed, and what became of it.

use hyper::StatusCode;

use crate::{
    admin,
    args::{Explain, Global, Output},
    failure::Failure,
    out::say,
    render,
};

/// Asks all data planes for the one that had it.
///
/// # Errors
/// [`Failure::NotFound`] when none knows it; the first other failure when one could not be asked.
pub async fn run(global: &Global, explain: Explain) -> Result<(), Failure> {
    let id = explain.request_id.trim();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Failure::Input(format!(
            "{id:?} is no id of a request: it is what the header x-llmb-request-id of an answer says"
        )));
    }
    let mut failed = None;
    for door in admin::doors(global, explain.admin.as_deref()).await? {
        match door.ask(&format!("/explain/{id}")).await {
            Ok((StatusCode::OK, told)) => {
                let text = match global.output {
                    Output::Table => render::explain::explain(&told),
                    Output::Json | Output::Yaml => format!("{told:#}\n"),
                };
                say(&text);
                return Ok(());
            }
            Ok((StatusCode::NOT_FOUND, _)) => {}
            Ok((status, _)) => {
                failed = Some(Failure::Failed(format!("data plane {} answered {status}", door.name)));
            }
            Err(failure) => failed = Some(failure),
        }
    }
    Err(failed.unwrap_or_else(|| Failure::Unknown { id: id.to_owned() }))
}
