//! What bytes look like.

use super::MAX_RECORD;

/// What the begin of a file shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A SQLite database.
    Database,
    /// JSON.
    Json,
    /// An OTLP message in protobuf.
    Protobuf,
    /// Records, each after its length.
    Records,
    /// No byte, or nothing but white space.
    Empty,
    /// Something else, in words.
    Unknown(String),
}

pub(super) const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The byte order mark that some editors put before UTF-8.
pub(super) const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Files that people may take for telemetry.
const OTHERS: [(&[u8], &str); 8] = [
    (b"PAR1", "it is a Parquet file, which is written but not read"),
    (b"PK\x03\x04", "it is a ZIP archive; unpack it first"),
    (b"BZh", "it is packed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "it is packed with xz; unpack it first"),
    (b"ARROW1", "it is an Arrow file"),
    (b"<", "it begins like HTML or XML"),
    (b"\xff\xfe", "it is text in UTF-16; write it as UTF-8"),
    (b"\xfe\xff", "it is text in UTF-16; write it as UTF-8"),
];

/// Tells a file from its first bytes.
pub(super) fn shape(head: &[u8]) -> Shape {
    if head.is_empty() {
        return Shape::Empty;
    }
    if head.starts_with(b"SQLite format 3\0") {
        return Shape::Database;
    }
    // Before protobuf: its first byte, 10, is a line break, too. What follows tells them apart.
    if is_json(head) {
        return Shape::Json;
    }
    if is_protobuf(head) {
        return Shape::Protobuf;
    }
    if is_records(head) {
        return Shape::Records;
    }
    if head.iter().all(u8::is_ascii_whitespace) {
        return Shape::Empty;
    }
    let other = OTHERS.iter().find(|(magic, _)| head.starts_with(magic));
    Shape::Unknown(other.map_or_else(|| begins_with(head), |(_, words)| (*words).to_owned()))
}

/// The first bytes for a sentence, as text where they are.
fn begins_with(head: &[u8]) -> String {
    let start = head.get(..24).unwrap_or(head);
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        // A letter may be cut in two at the end.
        Err(e) if e.valid_up_to() + 4 > start.len() => std::str::from_utf8(&start[..e.valid_up_to()]).ok(),
        Err(_) => None,
    };
    match text {
        Some(text) if !text.contains(|c: char| c.is_control() && !c.is_whitespace()) => {
            format!("it begins with {:?}", text.trim())
        }
        _ => {
            let hex: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
            format!("it begins with the bytes {}", hex.join(" "))
        }
    }
}

fn after_space(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii_start()
}

/// An object or a list, as far as the begin shows.
fn is_json(head: &[u8]) -> bool {
    let head = after_space(head.strip_prefix(&MARK).unwrap_or(head));
    match head.split_first() {
        Some((b'{', rest)) => {
            let rest = after_space(rest);
            match rest.split_first() {
                None | Some((b'}', _)) => true,
                // A key begins with a letter; the same bytes in protobuf would be a tag that OTLP does not have.
                Some((b'"', key)) => key.first().is_none_or(|c| c.is_ascii_graphic() || !c.is_ascii()),
                _ => false,
            }
        }
        Some((b'[', rest)) => matches!(after_space(rest).first(), None | Some(b'{' | b'[' | b']')),
        _ => false,
    }
}

/// Field 1 with a length, and inside a field that a resource's records have.
fn is_protobuf(head: &[u8]) -> bool {
    let Some((0x0a, rest)) = head.split_first() else { return false };
    let Some((length, rest)) = varint(rest) else { return false };
    length <= MAX_RECORD && (length == 0 || rest.first().is_none_or(|tag| matches!(tag, 0x0a | 0x12 | 0x1a)))
}

/// Four bytes of a length, and then a message, plain or packed.
fn is_records(head: &[u8]) -> bool {
    let Some((length, rest)) = head.split_first_chunk::<4>() else { return false };
    let length = u64::from(u32::from_be_bytes(*length));
    (1..=MAX_RECORD).contains(&length) && (rest.starts_with(&ZSTD) || is_json(rest) || is_protobuf(rest))
}

/// A protobuf number and what comes after it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(i + 1..).unwrap_or_default()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_what_a_file_is() {
        let cases: [(&[u8], Shape); 16] = [
            (b"", Shape::Empty),
            (b" \n\t", Shape::Empty),
            (b"SQLite format 3\0rest", Shape::Database),
            (b"{\"resourceSpans\":[]}", Shape::Json),
            (b"\n\n{\n  \"data\": [", Shape::Json),
            (b"\xef\xbb\xbf[]", Shape::Json),
            (b"[{\"traceId\"", Shape::Json),
            (b"{}", Shape::Json),
            // A message of 123 = '{' bytes that begins with a resource of 34 = '"' bytes.
            (b"\x0a\x7b\x0a\x22\x0a\x14", Shape::Protobuf),
            (b"\x0a\x00", Shape::Protobuf),
            (b"\x0a\x85\x01\x12\x03", Shape::Protobuf),
            (b"\0\0\0\x05\x0a\x03\x0a\x01\x0a", Shape::Records),
            (b"\0\0\0\x12{\"resourceLogs\":[]}", Shape::Records),
            (b"\0\0\0\x20\x28\xb5\x2f\xfd", Shape::Records),
            (b"\0\0\0\0\0\0\0\0", Shape::Unknown("it begins with the bytes 00 00 00 00 00 00 00 00".into())),
            (b"hello, world", Shape::Unknown("it begins with \"hello, world\"".into())),
        ];
        for (head, expected) in cases {
            assert_eq!(shape(head), expected, "{head:?}");
        }
        let words = |head: &[u8]| match shape(head) {
            Shape::Unknown(words) => words,
            other => panic!("{other:?}"),
        };
        assert!(words(b"PAR1\0").contains("Parquet"));
        assert!(words(b"PK\x03\x04").contains("ZIP"));
        assert!(words("{ kein JSON".as_bytes()).contains("kein"));
        assert!(words("ääääääääääääää".as_bytes()).contains('ä'), "cut between bytes of a letter");
    }
}
