//! What a rule looks for: keys, services, stretches of text.

use std::ops::Range;

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const COMPILED: usize = 1 << 20;

/// Characters that an expression may have.
const WRITTEN: usize = 2_000;

/// Which keys.
#[derive(Debug)]
pub(super) enum Keys {
    Exact(String),
    /// All that begin so.
    Prefix(String),
    Regex(Regex),
}

impl Keys {
    /// `user.*` means every key that begins with `user.`; a star elsewhere is an ordinary character.
    pub(super) fn of(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == key,
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
            Self::Regex(regex) => regex.is_match(key),
        }
    }
}

/// An expression within limits.
pub(super) fn regex(text: &str) -> Result<Regex, String> {
    if text.chars().count() > WRITTEN {
        return Err(format!("the expression is longer than {WRITTEN} characters"));
    }
    let regex = RegexBuilder::new(text).size_limit(COMPILED).dfa_size_limit(COMPILED).build();
    let regex = regex.map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => "the expression needs more than 1 MiB of memory; make it simpler".to_owned(),
        other => other.to_string(),
    })?;
    if regex.is_match("") {
        return Err("the expression matches the empty text, and so everything".to_owned());
    }
    Ok(regex)
}

/// Stretches of text that are found in values.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// What a match must also be.
    also: Also,
    /// The group of the expression that is meant; 0 is all of it.
    group: usize,
}

/// The patterns with a name.
pub(super) const NAMED: [&str; 6] = ["card", "bearer", "email", "jwt", "url_password", "query_secret"];

/// What a match must also be.
type Also = Option<fn(&str) -> bool>;

impl Pattern {
    pub(super) fn of_regex(text: &str) -> Result<Self, String> {
        Ok(Self { regex: regex(text)?, also: None, group: 0 })
    }

    /// A pattern with a name; `None` when there is none of that name.
    pub(super) fn named(name: &str) -> Option<Result<Self, String>> {
        let mut group = 0;
        let (text, also): (&str, Also) = match name {
            // 13 to 19 digits, alone or in groups, of the issuers' range, whose check digit is right. Times in
            // nanoseconds begin with a 1, so they are left alone.
            "card" => (r"\b[2-6](?:[ -]?[0-9]){12,18}\b", Some(luhn)),
            "bearer" => (r"(?i)\b(?:bearer|basic)[ ]+[A-Za-z0-9._~+/=-]{6,}", None),
            "email" => (r"[A-Za-z0-9._%+'-]+(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", None),
            "jwt" => (r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*", None),
            // The password of `scheme://user:password@host`; nothing of the path, where a colon and an @ are no secret.
            "url_password" => {
                group = 1;
                (r"://[^/?#\s:@]*:([^/?#\s@]+)@", None)
            }
            // What OpenTelemetry's conventions for `url.full` and `url.query` name, and OAuth's own.
            "query_secret" => {
                group = 1;
                let text = r"(?:^|[?&;])(?:AWSAccessKeyId|Signature|sig|X-Goog-Signature|X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential|access_token|refresh_token|id_token|api_key|apikey|api-key|client_secret|password|passwd|secret)=([^&;#\s]+)";
                (text, None)
            }
            _ => return None,
        };
        Some(Self::of_regex(text).map(|pattern| Self { also, group, ..pattern }))
    }

    /// Where it occurs.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let also = |m: &regex::Match<'_>| self.also.is_none_or(|is| is(m.as_str()));
        if self.group > 0 {
            return self.regex.captures_iter(text).filter_map(|c| c.get(self.group)).map(|m| m.range()).collect();
        }
        self.regex.find_iter(text).filter(|m| !m.is_empty()).filter(also).map(|m| m.range()).collect()
    }
}

/// Whether the last of the digits is the check digit of ISO/IEC 7812 over the others.
fn luhn(text: &str) -> bool {
    let digits = text.bytes().rev().filter(u8::is_ascii_digit).map(|d| u32::from(d - b'0'));
    let sum: u32 = digits.enumerate().map(|(i, d)| if i % 2 == 0 { d } else { d * 2 / 10 + d * 2 % 10 }).sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let pattern = Pattern::named(name).expect("a name").expect("an expression");
        pattern.find(text).into_iter().map(|r| &text[r]).collect()
    }

    #[test]
    fn named_patterns_find_what_they_are_named_after() {
        let numbers =
            "paid with 4111 1111 1111 1111 or 5500-0055-5555-5559, at 1784567890123456789, order 4111111111111112";
        assert_eq!(found("card", numbers), ["4111 1111 1111 1111", "5500-0055-5555-5559"]);
        assert_eq!(found("bearer", "Authorization: Bearer abc.def-123; bearer x"), ["Bearer abc.def-123"]);
        assert_eq!(found("email", "from joe.o'neil+x@mail.example.org, ü@x"), ["joe.o'neil+x@mail.example.org"]);
        assert_eq!(found("email", "/find?user=ann%40shop.example"), ["ann%40shop.example"]);
        assert_eq!(found("jwt", "t=eyJhbGciOi.eyJzdWIiOi.c2ln end"), ["eyJhbGciOi.eyJzdWIiOi.c2ln"]);
        let url = "GET https://ann:hunter2@shop.example/a:b@c?x=1 and redis://:pw@cache:6379/0, mail to://me@x";
        assert_eq!(found("url_password", url), ["hunter2", "pw"]);
        let query = "/cb?code=1&access_token=abc.def&state=2, sig=s3, x-sig=no, ?password=p%20w#top";
        assert_eq!(found("query_secret", query), ["abc.def", "p%20w"]);
        assert!(NAMED.iter().all(|name| Pattern::named(name).is_some_and(|p| p.is_ok())));
    }

    #[test]
    fn expressions_have_limits() {
        assert!(regex("a*").is_err_and(|why| why.contains("empty text")));
        assert!(regex("(").is_err());
        assert!(regex(r"(\w{500}){500}").is_err_and(|why| why.contains("1 MiB")));
        assert!(regex(&"a".repeat(WRITTEN + 1)).is_err_and(|why| why.contains("longer")));
    }
}
