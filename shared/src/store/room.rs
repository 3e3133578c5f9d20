//! How much fits into one answer.

/// The longest page, in bytes of text. Lambda's own limit for an answer is 6 MB.
pub(super) const MAX_PAGE_BYTES: i64 = 5_000_000;

/// The longest page as Lambda carries it: text inside a JSON string, in which each of these takes two
/// bytes. Kept below Lambda's limit of 6,291,556 bytes.
const MAX_CARRIED_BYTES: usize = 6_000_000;

/// What JSON writes with a backslash before it. Other control characters are themselves escaped in the
/// text.
const ESCAPED: &[u8] = b"\"\\\n";

/// The size of an answer without its parts, in bytes.
const ENVELOPE_BYTES: usize = 300;

/// The room in an answer that is filled part by part.
pub(super) struct Room {
    bytes: usize,
    carried_bytes: usize,
}

impl Room {
    /// An empty answer.
    pub(super) fn new() -> Self {
        Self {
            bytes: ENVELOPE_BYTES,
            carried_bytes: ENVELOPE_BYTES,
        }
    }

    /// Adds a part and a separator; returns whether the answer is still small enough.
    pub(super) fn has_place_for(&mut self, part: &str) -> bool {
        let size = part.len() + 1;
        let escaped = part.bytes().filter(|byte| ESCAPED.contains(byte)).count();
        self.bytes += size;
        self.carried_bytes += size + escaped;
        self.bytes <= MAX_PAGE_BYTES as usize && self.carried_bytes <= MAX_CARRIED_BYTES
    }
}
