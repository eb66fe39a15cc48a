//! Names for backends that were given by URL alone, and when two URLs are one server.

use proto::v1::Backend;

/// Longest name of a resource, as the proto says.
const NAME_CHARS_MAX: usize = 63;

/// A URL as typed, with the scheme that a lone `host:port` leaves out.
pub fn complete(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// The backend in `backends` that has this URL already.
pub fn same_url<'a>(backends: &'a [Backend], url: &str) -> Option<&'a Backend> {
    let wanted = canonical(url);
    backends.iter().find(|backend| canonical(&backend.url) == wanted)
}

/// A valid name from host and port, with a number behind it when it is taken.
pub fn from_url(backends: &[Backend], url: &str) -> String {
    let authority = authority(url).to_ascii_lowercase();
    let authority = authority.strip_suffix(":80").or(authority.strip_suffix(":443")).unwrap_or(&authority);
    let mut name = String::new();
    for c in authority.chars() {
        match c {
            'a'..='z' | '0'..='9' | '.' => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    unique(backends, name.trim_matches(['-', '.']))
}

/// `wanted`, cut to a name's length, or the first of `wanted-2`, `wanted-3` ... that is free.
pub fn unique(backends: &[Backend], wanted: &str) -> String {
    let wanted = if wanted.is_empty() { "backend" } else { wanted };
    let taken = |name: &str| backends.iter().any(|backend| backend.name == name);
    let cut = |chars: usize| wanted[..wanted.len().min(chars)].trim_end_matches(['-', '.']);
    let plain = cut(NAME_CHARS_MAX);
    if !taken(plain) {
        return plain.to_owned();
    }
    (2..=backends.len() + 2)
        .map(|number| format!("-{number}"))
        .map(|suffix| format!("{}{suffix}", cut(NAME_CHARS_MAX - suffix.len())))
        .find(|name| !taken(name))
        .expect("among one more names than there are backends one is free")
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Equal for URLs that reach one server: case, default port, `localhost`, and the endings that the control plane drops.
fn canonical(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let scheme = scheme.to_ascii_lowercase();
    let path_at = rest.find('/').unwrap_or(rest.len());
    let mut host = rest[..path_at].to_ascii_lowercase();
    if let Some(port) = host.strip_prefix("localhost")
        && (port.is_empty() || port.starts_with(':'))
    {
        host = format!("127.0.0.1{port}");
    }
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    let path = rest[path_at..].trim_end_matches('/');
    let path = path.strip_suffix("/v1").or(path.strip_suffix("/api")).unwrap_or(path).trim_end_matches('/');
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(list: &[(&str, &str)]) -> Vec<Backend> {
        let backend = |&(name, url): &(&str, &str)| Backend {
            name: name.to_owned(),
            url: url.to_owned(),
            ..Backend::default()
        };
        list.iter().map(backend).collect()
    }

    #[test]
    fn names_from_urls() {
        for (url, name) in [
            ("http://127.0.0.1:11434", "127.0.0.1-11434"),
            ("http://gpu-1.lab:8000/v1", "gpu-1.lab-8000"),
            ("https://API.OpenAI.com/v1", "api.openai.com"),
            ("https://api.example.com:443", "api.example.com"),
            ("http://[::1]:8080", "1-8080"),
            ("http://user:secret@box:1", "box-1"),
            ("http://über_box", "ber-box"),
            ("http://", "backend"),
        ] {
            assert_eq!(from_url(&[], url), name, "{url}");
        }
    }

    #[test]
    fn names_are_unique_and_short() {
        let there = backends(&[("box-1", "http://a"), ("box-1-2", "http://b")]);
        assert_eq!(from_url(&there, "http://box:1"), "box-1-3");
        let long = format!("http://{}:1", "a".repeat(80));
        let name = from_url(&[], &long);
        assert_eq!(name.len(), 63);
        let there = backends(&[(&name, "http://a")]);
        let second = from_url(&there, &long);
        assert!(second.len() <= 63 && second.ends_with("-2"), "{second}");
        let dotted = format!("http://{}.b", "a".repeat(62));
        assert_eq!(from_url(&[], &dotted), "a".repeat(62));
    }

    #[test]
    fn one_server_by_several_urls() {
        let there =
            backends(&[("box", "http://127.0.0.1:11434"), ("cloud", "https://api.example.com/openai")]);
        for url in [
            "http://localhost:11434",
            "HTTP://127.0.0.1:11434/",
            "http://127.0.0.1:11434/v1",
            "http://localhost:11434/api/",
        ] {
            assert_eq!(same_url(&there, url).map(|backend| backend.name.as_str()), Some("box"), "{url}");
        }
        assert!(same_url(&there, "https://api.example.com:443/openai/v1").is_some());
        assert!(same_url(&there, "https://api.example.com/").is_none());
        assert!(same_url(&there, "http://localhost:11435").is_none());
        assert!(same_url(&there, "http://localhosts:11434").is_none());
    }

    #[test]
    fn a_lone_host_gets_a_scheme() {
        assert_eq!(complete("box:1"), "http://box:1");
        assert_eq!(complete("https://box"), "https://box");
    }
}
