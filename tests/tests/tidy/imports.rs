//! Who may import whom: the table of the design as data, over `use` lines and over manifests.

use crate::source::Source;

/// Files that must not name certain crates, modules or types.
struct Ban {
    /// Modules, such as `controlplane/src/plan`.
    inside: &'static [&'static str],
    /// Modules inside of those that may.
    except: &'static [&'static str],
    /// Crates or modules that must not be named there.
    paths: &'static [&'static str],
    /// Types that must not be named there.
    types: &'static [&'static str],
    why: &'static str,
}

const WORLD: &[&str] = &["tokio", "hyper", "hyper_util", "tonic", "sled", "reqwest", "axum"];

const BANS: &[Ban] = &[
    Ban {
        inside: &["proto/src"],
        except: &[],
        paths: &["controlplane", "dataplane", "sched", "wire", "llmsim"],
        types: &[],
        why: "proto stands below all others",
    },
    Ban {
        inside: &["controlplane/src"],
        except: &[],
        paths: &["dataplane", "sched", "llmsim", "llmctl"],
        types: &[],
        why: "the control plane knows neither data plane nor scheduler",
    },
    Ban {
        inside: &["dataplane/src"],
        except: &[],
        paths: &["controlplane", "llmsim", "llmctl", "sled"],
        types: &[],
        why: "the data plane serves without the control plane",
    },
    Ban {
        inside: &["dataplane/sched/src", "dataplane/sched/tests"],
        except: &[],
        paths: &["proto", "wire", "controlplane", "dataplane", "llmsim"],
        types: &["Instant", "SystemTime", "HashMap", "HashSet", "TcpStream", "File"],
        why: "the core has no clock, no chance, no I/O and no order of its own",
    },
    Ban {
        inside: &["dataplane/tape/src"],
        except: &[],
        paths: &["proto", "wire", "controlplane", "dataplane", "llmsim"],
        types: &["Instant", "SystemTime", "TcpStream"],
        why: "a tape is what the core was told and what it said",
    },
    Ban {
        inside: &["dataplane/wire/src"],
        except: &[],
        paths: &["proto", "sched", "controlplane", "dataplane", "llmsim"],
        types: &["TcpStream", "File", "Instant", "SystemTime"],
        why: "wire is bytes in, values out",
    },
    Ban {
        inside: &["tests/llmsim/src"],
        except: &[],
        paths: &["proto", "wire", "sched", "controlplane", "dataplane"],
        types: &[],
        why: "the simulated server is written from what real ones send, not from what we read",
    },
    Ban {
        inside: &["tests/arena/src", "tests/arena/tests"],
        except: &[],
        paths: &["proto", "wire", "controlplane", "dataplane", "llmsim"],
        types: &["Instant", "SystemTime", "TcpStream"],
        why: "the arena has a time of its own, and knows the core alone",
    },
    Ban {
        inside: &["tests/permits/src", "tests/permits/tests"],
        except: &[],
        paths: &["proto", "wire", "controlplane", "dataplane", "llmsim"],
        types: &["Instant", "SystemTime", "HashMap", "HashSet", "TcpStream"],
        why: "the simulated network has a time of its own, and knows the core alone",
    },
    Ban {
        inside: &["tests/arena/src/cache"],
        except: &[],
        paths: &["sched"],
        types: &[],
        why: "the models of caches serve other simulators too",
    },
    Ban {
        inside: &["cli/src"],
        except: &["cli/src/up"],
        paths: &["controlplane", "dataplane"],
        types: &[],
        why: "only `up` runs planes",
    },
    Ban {
        inside: &["cli/src"],
        except: &["cli/src/demo"],
        paths: &["llmsim"],
        types: &[],
        why: "only `demo` knows the simulated server",
    },
    Ban {
        inside: &["cli/src"],
        except: &[],
        paths: &["sched", "wire"],
        types: &[],
        why: "llmctl speaks proto",
    },
    Ban {
        inside: &[
            "controlplane/src/plan",
            "controlplane/src/probe/verdict",
            "controlplane/src/model",
            "dataplane/sched/src",
            "dataplane/tape/src",
            "dataplane/wire/src",
            "dataplane/src/route",
        ],
        except: &[],
        paths: WORLD,
        types: &[],
        why: "decides, and leaves the doing to others",
    },
    Ban {
        inside: &["controlplane/src"],
        except: &["controlplane/src/store"],
        paths: &["sled"],
        types: &[],
        why: "the store is behind one interface",
    },
    Ban {
        inside: &["controlplane/src"],
        except: &[
            "controlplane/src/app",
            "controlplane/src/api",
            "controlplane/src/publish",
            "controlplane/src/model/parse",
            "controlplane/src/model/render",
            "controlplane/src/model/tests",
            "controlplane/src/plan/render",
        ],
        paths: &["proto"],
        types: &[],
        why: "proto types stop at parse, render, api and publish",
    },
    Ban {
        inside: &["dataplane/src"],
        except: &[
            "dataplane/src/app",
            "dataplane/src/config",
            "dataplane/src/peer",
            "dataplane/src/route/parse",
        ],
        paths: &["proto"],
        types: &[],
        why: "proto types stop at config and peer",
    },
    Ban {
        inside: &["dataplane/src/dispatch"],
        except: &[],
        paths: &["wire"],
        types: &[],
        why: "dispatch knows no dialect",
    },
    Ban {
        inside: &["dataplane/src/relay"],
        except: &[],
        paths: &["config"],
        types: &[],
        why: "relay knows no configuration",
    },
];

/// Own crates, and the own crates that each may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("sched", &[]),
    ("tape", &["sched"]),
    ("wire", &[]),
    ("arena", &["sched"]),
    ("llmsim", &["arena"]),
    ("permits", &["arena", "sched"]),
    ("controlplane", &["proto", "wire"]),
    ("dataplane", &["proto", "sched", "tape", "wire"]),
    ("llmctl", &["proto", "controlplane", "dataplane", "llmsim", "tape"]),
    ("tests", &["proto", "sched", "tape", "wire", "controlplane", "dataplane", "arena", "llmsim", "permits"]),
];

/// What a file names against the table.
pub fn imports(source: &Source) -> Vec<String> {
    let applies = |ban: &&Ban| {
        let any = |modules: &[&str]| modules.iter().any(|module| source.within(module));
        any(ban.inside) && !any(ban.except)
    };
    let bans: Vec<&Ban> = BANS.iter().filter(applies).collect();
    let mut faults = Vec::new();
    for word in source.words() {
        for ban in &bans {
            let path = ban.paths.contains(&word.text)
                && word.names_a_path()
                && (word.text == "config" || !word.is_inner());
            if path || ban.types.contains(&word.text) {
                faults.push(format!(
                    "{}:{}: {} is not for here: {}",
                    source.path, word.line, word.text, ban.why
                ));
            }
        }
    }
    faults
}

/// What a manifest depends on against the table.
pub fn manifest(path: &str, text: &str) -> Vec<String> {
    let name = text.lines().find_map(|line| line.strip_prefix("name = ")).map(|name| name.trim_matches('"'));
    let Some((name, allowed)) = CRATES.iter().find(|(own, _)| Some(*own) == name) else {
        return vec![format!("{path}: this crate is not in the table of imports")];
    };
    let mut faults = Vec::new();
    if !text.contains("\n[lints]\nworkspace = true\n") {
        faults.push(format!("{path}: {name} does not take the lints of the workspace"));
    }
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if !section.ends_with("dependencies]") || key.is_empty() || key.starts_with(['#', '[']) {
            continue;
        }
        let own = CRATES.iter().any(|(own, _)| *own == key);
        let free = ["sched", "wire"].contains(name);
        let banned = (own && !allowed.contains(&key))
            || (free && WORLD.contains(&key.replace('-', "_").as_str()))
            || (*name == "sched" && section == "[dependencies]");
        if !line.ends_with("workspace = true")
            && !line.contains("workspace = true,")
            && !line.contains("workspace = true }")
        {
            faults.push(format!("{path}: the version of {key} belongs into the manifest of the workspace"));
        }
        if banned {
            faults.push(format!("{path}: {name} must not depend on {key}"));
        }
    }
    faults
}
