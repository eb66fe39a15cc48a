//! How urgent a client says that its request is.

use http::{HeaderMap, HeaderName};
use sched::Class;
use wire::Fault;

const CLASS: HeaderName = HeaderName::from_static("x-llmb-class");
/// Characters of a wrong value that are told.
const SHOWN_MAX: usize = 64;

/// The class that is asked for; a route's own is the most urgent that its requests can have.
///
/// # Errors
/// What is allowed.
pub fn asked(headers: &HeaderMap) -> Result<Option<Class>, Fault> {
    // Most ask for none: a look at the few names costs less than the hash of this one.
    if !headers.keys().any(|name| *name == CLASS) {
        return Ok(None);
    }
    let mut values = headers.get_all(CLASS).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let known = match value.as_bytes() {
        b"interactive" => Some(Class::Interactive),
        b"normal" => Some(Class::Normal),
        b"batch" => Some(Class::Batch),
        _ => None,
    };
    if known.is_none() || values.next().is_some() {
        let said: Vec<String> = headers
            .get_all(CLASS)
            .iter()
            .take(2)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).chars().take(SHOWN_MAX).collect())
            .collect();
        let message =
            format!("{CLASS}: {:?} is not allowed: one of interactive, normal and batch", said.join(", "));
        return Err(Fault::BadRequest { message });
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_asked_for() {
        let asked = |values: &[&'static str]| {
            let all = values.iter().map(|value| (CLASS, HeaderValue::from_static(value)));
            asked(&all.collect())
        };
        assert_eq!(asked(&[]), Ok(None));
        assert_eq!(asked(&["interactive"]), Ok(Some(Class::Interactive)));
        assert_eq!(asked(&["normal"]), Ok(Some(Class::Normal)));
        assert_eq!(asked(&["batch"]), Ok(Some(Class::Batch)));
        for (wrong, told) in [
            (
                &["urgent"][..],
                "x-llmb-class: \"urgent\" is not allowed: one of interactive, normal and batch",
            ),
            (&["Batch"], "\"Batch\""),
            (&[""], "\"\""),
            (&["batch", "normal"], "\"batch, normal\""),
            (&["batch", "batch"], "\"batch, batch\""),
        ] {
            let Err(Fault::BadRequest { message }) = asked(wrong) else { panic!("{wrong:?} is taken") };
            assert!(message.contains(told), "{message}");
        }
    }
}
