//! Rules about paths.

#[cfg(feature = "jwt")]
use std::borrow::Cow;

/// Rules for paths, the most specific first. A pattern is a whole path (`/orders/{id}` as axum writes it, or as it is asked for;
/// `/pkg.Service/Method`), a part of one with `/*` at its end, or `*`.
#[derive(Debug, Clone)]
pub(crate) struct Routes<T>(Vec<(String, T)>);

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Routes<T> {
    /// Sets the rule of a pattern.
    pub(crate) fn set(&mut self, pattern: impl Into<String>, rule: T) {
        let pattern = pattern.into();
        self.0.retain(|(known, _)| *known != pattern);
        self.0.push((pattern, rule));
        // Whole paths before parts of them, longer before shorter.
        self.0.sort_by_key(|(pattern, _)| (pattern.ends_with('*'), std::cmp::Reverse(pattern.len())));
    }

    /// The rule of a pattern.
    #[cfg(feature = "jwt")]
    pub(crate) fn exactly(&self, pattern: &str) -> Option<&T> {
        self.0.iter().find(|(known, _)| known == pattern).map(|(_, rule)| rule)
    }

    /// The rule of a path.
    pub(crate) fn get(&self, path: &str) -> Option<&T> {
        self.0.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, rule)| rule)
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        // `/a/*` is `/a`, too.
        Some(part) => {
            path.starts_with(part) || part.strip_suffix('/').is_some_and(|whole| !whole.is_empty() && path == whole)
        }
        None => pattern == path,
    }
}

/// A path without its percent signs; as it is if they make no text.
#[cfg(feature = "jwt")]
pub(crate) fn decoded(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return path.into();
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = |b: &u8| char::from(*b).to_digit(16);
        match (first, more) {
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                let byte = hex(high).unwrap_or(0) * 16 + hex(low).unwrap_or(0);
                bytes.push(u8::try_from(byte).unwrap_or(b'%'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).map_or_else(|_| path.into(), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_rule_counts() {
        let mut routes = Routes::default();
        routes.set("*", 0);
        routes.set("/admin/*", 1);
        routes.set("/admin/health", 2);
        routes.set("/admin/users/*", 3);
        let found = ["/x", "/admin", "/admin/a", "/admin/health", "/admin/users/7", "/administrator"];
        assert_eq!(found.map(|path| *routes.get(path).unwrap()), [0, 1, 1, 2, 3, 0]);
    }

    #[test]
    fn percent_signs_hide_nothing() {
        assert_eq!(decoded("/%61dmin/%7e"), "/admin/~");
        assert_eq!(decoded("/100%/%zz%f"), "/100%/%zz%f");
    }
}
