//! A quick look whether a request can hold anything that the default rules are about.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

/// Words of which one stands in every key, and in every query, that the default rules name. Plain words only: those are
/// found many bytes at a time.
const WORDS: &str = "authorization|cookie|passw|passphrase|secret|api_key|api-key|apikey|private_key|private-key|privatekey|\
    token|AWSAccessKeyId|Signature=|sig=|X-Amz-|X-Goog-";

/// The longest user and password that is looked for behind `://`, in bytes.
const USER: usize = 512;

static LOOK: LazyLock<Option<Regex>> = LazyLock::new(|| RegexBuilder::new(WORDS).unicode(false).build().ok());
static SCHEME: LazyLock<Option<Regex>> = LazyLock::new(|| RegexBuilder::new("://").unicode(false).build().ok());

/// Whether any of the words stands in a text, or a URL with a user.
pub(super) fn mentions(request: &[u8]) -> bool {
    let (Some(words), Some(scheme)) = (&*LOOK, &*SCHEME) else { return true };
    words.is_match(request)
        || scheme.find_iter(request).any(|m| names_a_user(request.get(m.end()..).unwrap_or_default()))
}

/// Whether what stands behind `://` has an `@` before its path, or no end that could be seen.
fn names_a_user(behind: &[u8]) -> bool {
    let end = behind.iter().position(|b| matches!(b, b'/' | b'?' | b'#' | b'@') || b.is_ascii_whitespace());
    match end {
        Some(at) => behind.get(at) == Some(&b'@'),
        None => behind.len() > USER,
    }
}
