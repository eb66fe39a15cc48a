//! Configuration files and snapshots: what is read is printed and read again the same, and serves or is refused whole.

use std::fmt::Debug;

use dataplane::config::Parser;
use prost::Message;
use proto::v1;
use wire::Dialect;

use super::choice;

pub fn run(mut input: &[u8]) {
    let how = choice(&mut input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let yaml = how & 1 == 0;
    if how & 2 == 0 {
        if let Some(snapshot) = form::<v1::Snapshot>("Snapshot", text, yaml) {
            serve(snapshot, how & 4 == 0);
        }
    } else {
        form::<v1::Config>("Config", text, yaml);
    }
}

fn form<M: Message + Default + PartialEq + Debug>(name: &str, text: &str, yaml: bool) -> Option<M> {
    let read = if yaml { proto::from_yaml::<M>(name, text) } else { proto::from_json::<M>(name, text) };
    let message = match read {
        Ok(message) => message,
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            return None;
        }
    };
    let json = proto::to_json(name, &message);
    let again: M = proto::from_json(name, &json).expect("what is printed can be read");
    assert_eq!(again, message, "{json}");
    let printed = proto::to_yaml(name, &message);
    let again: M = match proto::from_yaml(name, &printed) {
        Ok(again) => again,
        Err(fault) => panic!("what is printed cannot be read: {fault}\n{printed}"),
    };
    assert_eq!(again, message, "{printed}");
    Some(message)
}

fn serve(mut snapshot: v1::Snapshot, alone: bool) {
    for backend in &mut snapshot.backends {
        // Files of this machine are no part of the question.
        if backend.credential.starts_with("file:") {
            backend.credential.clear();
        }
    }
    let parsed = match Parser::new(10, alone).parse(&snapshot) {
        Ok(parsed) => parsed,
        Err(faults) => {
            return assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.is_empty()));
        }
    };
    assert_eq!(parsed.backends.len(), snapshot.backends.len());
    assert_eq!(parsed.fleet.backends.len(), snapshot.backends.len());
    assert!(parsed.fleet.backends.values().all(|backend| backend.slots >= 1));
    let names = snapshot.routes.iter().map(|route| route.name.as_str());
    let models =
        snapshot.backends.iter().flat_map(|backend| backend.models.iter().map(|model| model.name.as_str()));
    for name in names.chain(models).chain(["", "m"]) {
        for dialect in Dialect::ALL {
            let mut found = match parsed.table.candidates(name, dialect) {
                Ok(found) => found,
                Err(_) => continue,
            };
            found.prefer(found.draw(name.len() as u64));
            for candidate in found.candidates {
                let speaks = candidate.backend.dialects.contains(&dialect);
                assert!(speaks, "{name} goes to a server of another dialect");
            }
        }
    }
}
