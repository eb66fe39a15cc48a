//! What `up` says once it serves: pure, from what is there to lines.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use proto::v1::{Backend, Dialect};

use crate::render;

/// Where the control plane is when nobody says.
const CONTROL_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8801);

/// What there is to say.
pub struct Greeting<'a> {
    /// Base URL for clients.
    pub base: &'a str,
    /// Where the data plane answers for itself, as bound.
    pub admin: SocketAddr,
    /// Where the control plane is managed, as bound.
    pub control: SocketAddr,
    pub backends: &'a [Backend],
    /// What was found, added or kept, a line each.
    pub notes: &'a [String],
    /// Commands to try; empty: one is made from the backends.
    pub commands: Vec<String>,
    /// The command to manage it with.
    pub llmctl: &'a str,
}

impl Greeting<'_> {
    /// The lines for standard output.
    pub fn text(&self) -> String {
        let base = self.base;
        let mut text: String = self.notes.iter().map(|note| format!("{note}\n")).collect();
        text += &format!("\nServing at {base}\n");
        for (clients, variable, path) in [
            ("OpenAI", "OPENAI_BASE_URL", "/v1"),
            ("Anthropic", "ANTHROPIC_BASE_URL", ""),
            ("Gemini", "GOOGLE_GEMINI_BASE_URL", ""),
            ("Ollama", "OLLAMA_HOST", ""),
        ] {
            text += &format!("  {clients:<10} {variable}={base}{path}\n");
        }
        text += "Clients that insist on a key: any will do.\n";
        text += &format!("Managed at {}, metrics at {}/metrics\n\n", url(self.control), url(self.admin));
        if self.backends.is_empty() {
            text += &format!(
                "No server is behind it yet. Start one (ollama serve; llama-server -m FILE), or name one:\n  {} backend add http://HOST:PORT\n",
                self.llmctl
            );
        } else {
            text += &render::backends(self.backends);
        }
        let commands = self.try_next(base);
        if !commands.is_empty() {
            text += "\nTry:\n";
            text += &commands.iter().map(|command| format!("  {command}\n")).collect::<String>();
        }
        text + "\nCtrl-C stops.\n"
    }

    fn try_next(&self, base: &str) -> Vec<String> {
        if !self.commands.is_empty() {
            return self.commands.clone();
        }
        let speaks_chat = |backend: &&Backend| {
            let status = backend.status.as_ref();
            status.is_some_and(|status| status.dialects().any(|dialect| dialect == Dialect::OpenaiChat))
        };
        let mut models = self.backends.iter().filter(speaks_chat).flat_map(|backend| {
            let status = backend.status.iter();
            status.flat_map(|status| &status.models).filter(|model| {
                model.capabilities.is_empty() || model.capabilities.iter().any(|can| can == "completion")
            })
        });
        let Some(model) = models.next().and_then(|model| json_in_shell(&model.name)) else {
            return Vec::new();
        };
        vec![
            format!(
                r#"curl -N {base}/v1/chat/completions -H 'content-type: application/json' -d '{{"model":{model},"stream":true,"messages":[{{"role":"user","content":"Why is the sky blue?"}}]}}'"#
            ),
            format!("{} status", self.llmctl),
        ]
    }
}

/// A name as JSON that can stand between single quotes; none for one that cannot.
fn json_in_shell(name: &str) -> Option<String> {
    let json = serde_json::to_string(name).ok()?;
    (!json.contains('\'') && !json.chars().any(char::is_control)).then_some(json)
}

/// The URL by which this machine reaches an address that was bound.
pub fn url(addr: SocketAddr) -> String {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, addr.port()))
}

/// Base URL for clients of an address that was bound.
pub fn base(listen: SocketAddr, secure: bool) -> String {
    let url = url(listen);
    if secure { url.replacen("http:", "https:", 1) } else { url }
}

/// The command that reaches this control plane: `llmctl` where that is on the path, else the running file.
pub fn llmctl(control: SocketAddr) -> String {
    let this = env::current_exe().ok();
    let on_path = this.as_deref().is_some_and(|this| on_path(this, env::var_os("PATH").unwrap_or_default()));
    let program = match this {
        Some(this) if !on_path => quoted(&this),
        _ => "llmctl".to_owned(),
    };
    if control == CONTROL_DEFAULT { program } else { format!("{program} --control {}", url(control)) }
}

fn on_path(this: &Path, path: std::ffi::OsString) -> bool {
    let same = |folder: PathBuf| {
        let there = folder.join("llmctl").canonicalize();
        there.is_ok_and(|there| this.canonicalize().is_ok_and(|this| this == there))
    };
    // The first one wins, as in the shell.
    env::split_paths(&path).find(|folder| folder.join("llmctl").is_file()).is_some_and(same)
}

fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use proto::v1::{BackendStatus, Health, Model};

    use super::*;

    fn greeting<'a>(backends: &'a [Backend], notes: &'a [String]) -> Greeting<'a> {
        Greeting {
            base: "http://127.0.0.1:9900",
            admin: "127.0.0.1:9902".parse().unwrap(),
            control: "[::]:9901".parse().unwrap(),
            backends,
            notes,
            commands: Vec::new(),
            llmctl: "llmctl --control http://[::1]:9901",
        }
    }

    #[test]
    fn an_address_of_every_interface_is_reached_at_this_machine() {
        assert_eq!(base("0.0.0.0:9900".parse().unwrap(), false), "http://127.0.0.1:9900");
        assert_eq!(base("[::]:9900".parse().unwrap(), true), "https://[::1]:9900");
    }

    #[test]
    fn with_a_server() {
        let status = BackendStatus {
            health: Health::Healthy as i32,
            dialects: vec![Dialect::OpenaiChat as i32],
            models: vec![
                Model {
                    name: "nomic".to_owned(),
                    capabilities: vec!["embedding".to_owned()],
                    ..Model::default()
                },
                Model { name: "tiny".to_owned(), ..Model::default() },
            ],
            slots: 2,
            ..BackendStatus::default()
        };
        let backend = Backend {
            name: "box".to_owned(),
            url: "http://box:1".to_owned(),
            status: Some(status),
            ..Backend::default()
        };
        let expect = r#"box: found

Serving at http://127.0.0.1:9900
  OpenAI     OPENAI_BASE_URL=http://127.0.0.1:9900/v1
  Anthropic  ANTHROPIC_BASE_URL=http://127.0.0.1:9900
  Gemini     GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9900
  Ollama     OLLAMA_HOST=http://127.0.0.1:9900
Clients that insist on a key: any will do.
Managed at http://[::1]:9901, metrics at http://127.0.0.1:9902/metrics

NAME  KIND  STATE    SLOTS  MODELS       URL           REVISION  REASON
box   -     healthy  2      nomic, tiny  http://box:1  0

Try:
  curl -N http://127.0.0.1:9900/v1/chat/completions -H 'content-type: application/json' -d '{"model":"tiny","stream":true,"messages":[{"role":"user","content":"Why is the sky blue?"}]}'
  llmctl --control http://[::1]:9901 status

Ctrl-C stops.
"#;
        assert_eq!(greeting(&[backend], &["box: found".to_owned()]).text(), expect);
    }

    #[test]
    fn with_none() {
        let text = greeting(&[], &[]).text();
        assert!(text.contains("llmctl --control http://[::1]:9901 backend add http://HOST:PORT\n"), "{text}");
        assert!(!text.contains("Try:"), "{text}");
    }

    #[test]
    fn a_name_that_would_break_the_shell_is_not_offered() {
        assert_eq!(json_in_shell("qwen3:8b").as_deref(), Some("\"qwen3:8b\""));
        assert_eq!(json_in_shell("it's"), None);
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
        assert_eq!(quoted(Path::new("/a/llmctl")), "/a/llmctl");
    }
}
