//! The only changes to request bytes on the pass lane, each a splice.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::dialect::{Dialect, Operation};
use crate::read::{Ask, UsageAsk};

/// Splices, sorted and not overlapping.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Edits {
    splices: Vec<(Range<usize>, Cow<'static, str>)>,
    added_usage: bool,
}

impl Edits {
    /// Decides what must change in the body that `ask` was read from.
    ///
    /// `want_usage` asks for usage in streams of chat completions and completions; `strip_billing` drops the
    /// billing block that one client puts before its system prompt.
    pub fn plan(
        operation: Operation,
        ask: &Ask,
        model_at_backend: &str,
        want_usage: bool,
        strip_billing: bool,
    ) -> Self {
        let mut edits = Edits::default();
        edits.plan_model(operation, ask, model_at_backend);
        let may_ask = matches!(operation, Operation::Chat | Operation::Completions) && !ask.responses_shape;
        if let (true, UsageAsk::Missing { at, with }) =
            (want_usage && ask.stream && may_ask, &ask.include_usage)
        {
            edits.splices.push((at.clone(), Cow::Borrowed(with)));
            edits.added_usage = true;
        }
        if let (true, Some(block)) = (strip_billing, &ask.billing) {
            edits.splices.push((block.clone(), Cow::Borrowed("")));
        }
        edits.splices.sort_by_key(|(at, _)| at.start);
        edits
    }

    /// Whether the body stays as it is.
    pub fn is_empty(&self) -> bool {
        self.splices.is_empty()
    }

    /// Whether usage is asked for that the client did not ask for, so that its chunk must be taken out.
    pub fn added_usage(&self) -> bool {
        self.added_usage
    }

    /// The body with the edits made; the very same bytes where there are none.
    ///
    /// # Panics
    /// When `body` is shorter than the one that the edits were planned for.
    pub fn apply(&self, body: Bytes) -> Bytes {
        if self.is_empty() {
            return body;
        }
        let added: usize = self.splices.iter().map(|(_, with)| with.len()).sum();
        let mut edited = Vec::with_capacity(body.len() + added);
        let mut copied = 0;
        for (at, with) in &self.splices {
            edited.extend_from_slice(&body[copied..at.start]);
            edited.extend_from_slice(with.as_bytes());
            copied = at.end;
        }
        edited.extend_from_slice(&body[copied..]);
        Bytes::from(edited)
    }

    fn plan_model(&mut self, operation: Operation, ask: &Ask, model: &str) {
        let renamed = model != ask.model;
        if let (true, Some(span)) = (renamed || ask.model_differs, &ask.model_span) {
            self.splices.push((span.clone(), Cow::Owned(literal(model))));
        }
        if let Some(at) = ask.model_missing {
            self.splices.push((at..at, Cow::Owned(format!("\"model\":{},", literal(model)))));
        }
        if renamed && operation.dialect() == Dialect::Gemini {
            let name = literal(&format!("models/{}", model.strip_prefix("models/").unwrap_or(model)));
            self.splices
                .extend(ask.models_inside.iter().map(|span| (span.clone(), Cow::Owned(name.clone()))));
        }
    }
}

fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
