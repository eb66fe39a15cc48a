//! Secrets towards backends: read freshly for each probe, shown to nobody.

use crate::model::Credential;

/// A secret has at most this many bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

const WHERE: &str = "in the environment of the control plane (where llmctl up or llmb-control was started)";
const INSTEAD: &str = "start it with the variable set, or use file:PATH";

/// A secret. It has no `Debug` and no `Display`.
pub struct Secret(String);

impl Secret {
    /// The secret itself, for a header.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Reads a secret; surrounding white space is not part of it.
///
/// # Errors
/// Where it was looked for and what is wrong, without any of it.
pub async fn read(credential: &Credential) -> Result<Secret, String> {
    let text = match credential {
        Credential::Env(name) => {
            std::env::var(name).map_err(|_| format!("{credential} is not set {WHERE}; {INSTEAD}"))?
        }
        Credential::File(path) => {
            file(path).await.map_err(|problem| format!("credential {credential}: {problem}"))?
        }
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("credential {credential}: empty"));
    }
    if !text.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        return Err(format!("credential {credential}: has characters that a header cannot carry"));
    }
    Ok(Secret(text.to_owned()))
}

async fn file(path: &str) -> Result<String, String> {
    let told = tokio::fs::metadata(path).await.map_err(|problem| problem.to_string())?;
    if !told.is_file() {
        return Err("not a file".to_owned());
    }
    if told.len() > SECRET_BYTES_MAX {
        return Err(format!("larger than {SECRET_BYTES_MAX} bytes"));
    }
    tokio::fs::read_to_string(path).await.map_err(|problem| problem.to_string())
}
