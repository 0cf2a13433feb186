//! Templates of paths, so that operations have few names however many ids there are.

use std::sync::Arc;

/// Templates such as `/orders/{id}` or `/files/{path...}`.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    /// The more literal ones first.
    all: Vec<Template>,
}

#[derive(Debug)]
struct Template {
    text: Arc<str>,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// This text.
    Literal(String),
    /// Any one segment.
    Any,
    /// Everything that follows the slash, even nothing.
    Rest,
}

impl Templates {
    /// Reads templates.
    ///
    /// # Errors
    /// One of them is none; says which and why.
    pub(crate) fn new(texts: &[String]) -> Result<Self, String> {
        let mut all = texts.iter().map(|text| Template::new(text)).collect::<Result<Vec<_>, _>>()?;
        // `/orders/new` before `/orders/{id}` before `/orders/{rest...}`.
        all.sort_by(|a, b| a.parts.cmp(&b.parts));
        Ok(Self { all })
    }

    /// The template that a path fits.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<str>> {
        self.all.iter().find(|template| template.fits(path)).map(|template| &template.text)
    }
}

impl Template {
    fn new(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or_else(|| format!("`{text}` does not begin with a slash"))?;
        if text.contains(['?', '#']) {
            return Err(format!("`{text}` has a query or fragment; routes are paths alone"));
        }
        let mut parts = Vec::new();
        for segment in rest.split('/') {
            if parts.last() == Some(&Part::Rest) {
                return Err(format!("`{text}`: nothing can follow a `{{…...}}`"));
            }
            let name = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            parts.push(match name {
                Some(name) if name.ends_with("...") => Part::Rest,
                Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Part::Any,
                None if !segment.contains(['{', '}']) => Part::Literal(segment.to_owned()),
                _ => return Err(format!("`{text}`: `{segment}` is neither a word nor a name in braces like `{{id}}`")),
            });
        }
        Ok(Self { text: text.into(), parts })
    }

    fn fits(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut segments = path.split('/');
        for part in &self.parts {
            let fits = match part {
                Part::Rest => return segments.next().is_some(),
                Part::Any => segments.next().is_some_and(|segment| !segment.is_empty()),
                Part::Literal(text) => segments.next() == Some(text),
            };
            if !fits {
                return false;
            }
        }
        segments.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(templates: &[&str], path: &str) -> Option<String> {
        let texts: Vec<_> = templates.iter().map(|t| (*t).to_owned()).collect();
        Templates::new(&texts).unwrap().find(path).map(ToString::to_string)
    }

    #[test]
    fn the_most_literal_template_wins() {
        let all = ["/orders/{rest...}", "/orders/{id}", "/orders/new", "/"];
        for (path, expected) in [
            ("/orders/new", Some("/orders/new")),
            ("/orders/7", Some("/orders/{id}")),
            ("/orders/7/lines", Some("/orders/{rest...}")),
            ("/orders/", Some("/orders/{rest...}")),
            ("/", Some("/")),
            ("/orders", None),
            ("*", None),
        ] {
            assert_eq!(found(&all, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn says_what_is_no_template() {
        for (text, why) in
            [("orders", "slash"), ("/a?b", "query"), ("/{}", "neither"), ("/x{id}", "neither"), ("/{a...}/b", "follow")]
        {
            let error = Templates::new(&[text.to_owned()]).unwrap_err();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
    }
}
