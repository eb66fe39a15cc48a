//! Configuration files: YAML or JSON to the proto's `Config`, faults with their place.

use std::path::Path;

use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use proto::v1::Config;

use crate::failure::Failure;

/// Reads a configuration. `.json`, and anything that starts with a brace, is JSON; all else is YAML.
///
/// # Errors
/// [`Failure::Input`] with file, path inside it, and fault.
pub fn parse(file: &Path, text: &str) -> Result<Config, Failure> {
    let json =
        file.extension().is_some_and(|extension| extension == "json") || text.trim_start().starts_with('{');
    let read = if json { proto::from_json("Config", text) } else { proto::from_yaml("Config", text) };
    read.map_err(|error| {
        let fault = place(text, json).unwrap_or_else(|| error.to_string());
        Failure::Input(format!("{}: {fault}", file.display()))
    })
}

/// Reads once more to say where in the document the fault is; none when the text is no document at all.
fn place(text: &str, json: bool) -> Option<String> {
    let value: serde_json::Value =
        if json { serde_json::from_str(text).ok()? } else { serde_saphyr::from_str(text).ok()? };
    let pool = DescriptorPool::decode(proto::DESCRIPTOR).ok()?;
    let config = pool.get_message_by_name("llmbalancer.v1.Config")?;
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let fault = DynamicMessage::deserialize_with_options(config, tracked, &options).err()?;
    Some(match track.path().to_string().as_str() {
        "." => fault.to_string(),
        path => format!("{path}: {fault}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(file: &str, text: &str) -> String {
        let failure = parse(Path::new(file), text).expect_err(text);
        assert_eq!(failure.code(), 2, "{text}");
        failure.to_string()
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "backends:\n- name: box\n  url: http://h:1\n  kind: LLAMACPP\n  maxConcurrency: 2\nroutes:\n- name: fast\n  exact: gpt-4o\n  targets:\n  - model: qwen3:8b\n";
        let json = r#"{"backends": [{"name": "box", "url": "http://h:1", "kind": "LLAMACPP", "max_concurrency": 2}],
            "routes": [{"name": "fast", "exact": "gpt-4o", "targets": [{"model": "qwen3:8b"}]}]}"#;
        let from_yaml = parse(Path::new("c.yaml"), yaml).unwrap();
        assert_eq!(from_yaml.backends[0].max_concurrency, 2);
        for file in ["c.json", "-"] {
            assert_eq!(parse(Path::new(file), json).unwrap(), from_yaml, "{file}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_path() {
        let yaml = "backends:\n- name: a\n  url: http://h:1\n- name: b\n  ulr: http://h:2\n";
        let said = fault("c.yaml", yaml);
        assert!(said.contains("c.yaml: backends[1]") && said.contains("'ulr'"), "{said}");
        let said = fault("-", r#"{"routes": [{"name": "r", "targets": [{"modle": "m"}]}]}"#);
        assert!(said.contains("-: routes[0].targets[0]") && said.contains("'modle'"), "{said}");
        let said = fault("c.yaml", "backend: []\n");
        assert!(said.contains("'backend'"), "{said}");
    }

    #[test]
    fn a_wrong_value_is_placed() {
        let said = fault("c.yaml", "backends:\n- name: a\n  priority: high\n");
        assert!(said.contains("backends[0].priority"), "{said}");
        let said = fault("c.yaml", "backends:\n- name: a\n  kind: TOASTER\n");
        assert!(said.contains("backends[0].kind"), "{said}");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        fault("c.yaml", "backends: [\n");
        fault("c.json", "{");
        fault("c.json", "backends: []");
        fault("c.yaml", "- a\n- b\n");
    }
}
