//! The second opinion on JSON: serde_json, members in order and as written, duplicates kept.

use std::fmt;

use serde_json::value::RawValue;

/// The members of an object as they stand.
pub(crate) struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl<'a> Members<'a> {
    /// Of a text that is one object and nothing else.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// How many have this name in whatever case: some servers make no difference.
    pub(crate) fn alike(&self, name: &str) -> usize {
        self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).count()
    }

    /// The values of every member of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&'a str> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.get()).collect()
    }
}

/// Whether the bytes are one JSON value in UTF-8.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// The string that a literal stands for.
pub(crate) fn string(literal: &str) -> Option<String> {
    serde_json::from_str(literal).ok()
}
