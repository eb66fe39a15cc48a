//! Configuration files: YAML or JSON to the proto's `Config`, faults with their place.

use std::path::Path;

use proto::{FormError, v1::Config};

use crate::failure::Failure;

/// Reads a configuration. `.json`, and anything that starts with a brace, is JSON; all else is YAML.
///
/// # Errors
/// [`Failure::Input`] with file, path inside it, and fault.
pub fn parse(file: &Path, text: &str) -> Result<Config, Failure> {
    let json =
        file.extension().is_some_and(|extension| extension == "json") || text.trim_start().starts_with('{');
    let value = if json { proto::value_of_json(text) } else { proto::value_of_yaml(text) };
    let read = value.and_then(|mut value| {
        // What `-o yaml backend list` prints is a configuration too, save for the revision of the whole.
        if let Some(fields) = value.as_object_mut() {
            fields.remove("revision");
        }
        proto::from_value("Config", value)
    });
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    read.map_err(|error| match error {
        FormError::Fields(faults) => {
            let lines: Vec<String> = faults.iter().map(|fault| format!("{name}: {fault}")).collect();
            Failure::Input(lines.join("\n"))
        }
        FormError::Json(_) | FormError::Yaml(_) => Failure::Input(format!("{name}: {error}")),
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
    fn lists_as_printed_are_configurations() {
        let list =
            "revision: 7\nbackends:\n- name: box\n  url: http://h:1\n  revision: 3\n  status: {slots: 1}\n";
        let config = parse(Path::new("a.yaml"), list).unwrap();
        assert_eq!((config.backends.len(), config.backends[0].revision), (1, 3));
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
        assert!(said.contains("c.yaml: backends[1].ulr: "), "{said}");
        let said = fault("-", r#"{"routes": [{"name": "r", "targets": [{"modle": "m"}]}]}"#);
        assert!(said.contains("standard input: routes[0].targets[0].modle: "), "{said}");
        let said = fault("c.yaml", "backend: []\nroute: []\n");
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("c.yaml: backend: "), "{said}");
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
