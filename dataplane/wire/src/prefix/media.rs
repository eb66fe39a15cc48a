//! Pictures, sounds and documents: by the hash of their bytes, or by their address.

use std::hash::Hasher as _;

use twox_hash::XxHash3_64;

use super::chain::QUOTE;
use super::json::{Style, json};
use super::tool::value;
use super::unescape::pieces;
use super::{Page, Role, Stop};
use crate::scan::{Bad, Peek, Scan, Text};

/// How the bytes of pictures start in base64: one dialect does not tell the type.
const STARTS: [(&str, &str); 6] = [
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    (r"\/9j\/", "image/jpeg"),
    ("_9j_", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
];

/// Bytes of base64 that are brought into one alphabet at a time.
const CHUNK_BYTES: usize = 256;

#[derive(Default)]
struct Media<'a> {
    kind: Option<Text<'a>>,
    data: Option<Text<'a>>,
    media_type: Option<Text<'a>>,
    address: Option<Text<'a>>,
    content: Option<Scan<'a>>,
}

impl<'a> Media<'a> {
    fn member(&mut self, scan: &mut Scan<'a>, name: &str) -> Result<(), Bad> {
        if name == "content" {
            self.content = value(scan)?;
            return Ok(());
        }
        if scan.peek()? != Peek::Text {
            return scan.pass();
        }
        let text = scan.text()?;
        match name {
            "type" => self.kind = Some(text),
            "data" => self.data = Some(text),
            "media_type" | "mimeType" | "mime_type" => self.media_type = Some(text),
            "url" | "file_data" | "fileUri" | "file_uri" | "file_url" => self.address = Some(text),
            "file_id" if self.address.is_none() => self.address = Some(text),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Page<'a, '_> {
    /// The value of a member that carries a picture, a sound or a document.
    pub(super) fn media(&mut self, scan: &mut Scan<'a>, role: Role) -> Result<(), Stop> {
        match scan.peek()? {
            Peek::Text => {
                let address = scan.text()?;
                return self.address(&address, role);
            }
            Peek::Object => {}
            _ => return Ok(scan.pass::<Bad>()?),
        }
        let mut media = Media::default();
        scan.object::<Bad>(|scan, key| media.member(scan, &key.name()))?;
        match media {
            Media { data: Some(data), kind: Some(kind), .. } if kind.name() == "text" => {
                self.text(&data, role)
            }
            Media { data: Some(data), media_type, .. } => {
                self.inline(media_type.map_or("", |text| text.raw), data.raw, role)
            }
            Media { address: Some(address), .. } => self.address(&address, role),
            Media { content: Some(mut content), .. } => {
                self.begin(role, b'j')?;
                json(&mut self.chain, &mut content, Style::Resolved)?;
                self.end(role)
            }
            _ => Ok(()),
        }
    }

    /// Ollama's list of pictures.
    pub(super) fn images(&mut self, scan: &mut Scan<'a>, role: Role) -> Result<(), Stop> {
        if scan.peek()? != Peek::Array {
            return Ok(scan.pass::<Bad>()?);
        }
        scan.array(|scan| {
            if scan.peek()? != Peek::Text {
                return Ok(scan.pass::<Bad>()?);
            }
            let data = scan.text()?;
            self.inline("", data.raw, role)
        })?;
        Ok(())
    }

    /// An address, which may be that of the data themselves.
    fn address(&mut self, text: &Text<'a>, role: Role) -> Result<(), Stop> {
        if let Some((kind, data)) = text.raw.strip_prefix("data:").and_then(|rest| rest.split_once(',')) {
            return self.inline(kind.split(';').next().unwrap_or_default(), data, role);
        }
        self.begin(role, b'l')?;
        let named = self.chain.media(b"");
        named.and_then(|()| pieces(text.raw, |piece| self.chain.mark(piece)))?;
        self.end(role)
    }

    /// Bytes in base64; escapes may stand in both texts.
    fn inline(&mut self, told: &str, data: &str, role: Role) -> Result<(), Stop> {
        let seen = STARTS.iter().find(|(start, _)| data.starts_with(start));
        self.begin(role, b'm')?;
        match seen {
            Some((_, kind)) => self.chain.mark(kind.as_bytes())?,
            None => pieces(told, |piece| self.chain.mark(piece))?,
        }
        self.chain.mark(&[QUOTE])?;
        self.chain.media(&digest(data).to_le_bytes())?;
        self.end(role)
    }
}

/// The hash of base64 in the usual alphabet and without padding, however it is written.
fn digest(data: &str) -> u64 {
    let usual = data.trim_end_matches('=').as_bytes();
    if memchr::memchr3(b'-', b'_', b'\\', usual).is_none() {
        return XxHash3_64::oneshot(usual);
    }
    let mut hash = XxHash3_64::new();
    let taken = pieces::<()>(data.trim_end_matches('='), |piece| {
        for piece in piece.chunks(CHUNK_BYTES) {
            let mut chunk = [0; CHUNK_BYTES];
            let chunk = &mut chunk[..piece.len()];
            chunk.copy_from_slice(piece);
            for byte in chunk.iter_mut() {
                *byte = match *byte {
                    b'-' => b'+',
                    b'_' => b'/',
                    other => other,
                };
            }
            hash.write(chunk);
        }
        Ok(())
    });
    debug_assert!(taken.is_ok());
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn one_picture_in_all_alphabets() {
        let usual = "ab+/".repeat(500);
        let same =
            [usual.replace('/', r"\/"), usual.replace('+', "-").replace('/', "_"), usual.clone() + "=="];
        assert!(same.iter().all(|other| digest(other) == digest(&usual)));
        assert_ne!(digest(&usual), digest(&usual[1..]));
    }
}
