//! Policy documents: what a team writes, in TOML, and what is refused in them.
//!
//! A document is a list of `[[edge]]` rules and one of `[[service]]` rules. A [`PolicyDocument`] is valid by construction:
//! the rules each hold known names and possible values, and every merged result that some edge or service could get makes
//! sense.

mod check;
mod differences;
mod fields;
mod kinds;
mod locate;
mod rule;
mod schema;
mod services;
mod spelling;

use std::fmt;

pub use differences::{Difference, Place, differences, rule_name, settings};
pub use locate::Position;
pub use rule::Rule;
pub use services::ServiceRule;
pub(crate) use services::merged as merged_service;
use toml::{Table, Value};

use crate::merge::{Index, Merged};

/// Most rules in a document, those about services included.
pub const MOST_RULES: usize = 2_000;

/// Something wrong in a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// Where, for people: `edge[2] payments/Charge: breaker.min_calls`, `service[1] orders: slo`. Rules are counted from 1.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Which `[[edge]]`, counted from 0, where it is about one.
    pub rule: Option<usize>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A valid policy document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyDocument {
    rules: Vec<Rule>,
    services: Vec<ServiceRule>,
}

impl PolicyDocument {
    /// Reads a TOML document.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the rules.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let top: Table = text.parse().map_err(|error: toml::de::Error| {
            vec![Problem { path: "document".to_owned(), message: error.to_string().trim_end().to_owned(), rule: None }]
        })?;
        let mut problems = Vec::new();
        let (mut rules, mut services) = (Vec::new(), Vec::new());
        for (name, value) in top {
            match (name.as_str(), value) {
                ("edge", Value::Array(edges)) => {
                    for edge in edges {
                        rules.push(schema::read_rule(rules.len(), edge, &mut problems));
                    }
                }
                ("service", Value::Array(values)) => {
                    for value in values {
                        services.push(services::read_rule(services.len(), value, &mut problems));
                    }
                }
                (name @ ("edge" | "service"), _) => {
                    problems.push(about_document(name, &format!("rules are written `[[{name}]]`, with two brackets")));
                }
                (other, _) => {
                    problems.push(about_document(other, &spelling::unknown(other, &["edge", "service"])));
                }
            }
        }
        Self::checked(rules, services, problems)
    }

    /// A document of rules that come from elsewhere, checked like one that is parsed.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn from_rules(
        rules: impl IntoIterator<Item = Rule>,
        services: impl IntoIterator<Item = ServiceRule>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(index, rule)| schema::clean_rule(index, rule, &mut problems)).collect();
        let services = services.into_iter().enumerate();
        let services = services.map(|(index, rule)| services::clean_rule(index, rule, &mut problems)).collect();
        Self::checked(rules, services, problems)
    }

    fn checked(rules: Vec<Rule>, services: Vec<ServiceRule>, mut problems: Vec<Problem>) -> Result<Self, Vec<Problem>> {
        let count = rules.len() + services.len();
        if count > MOST_RULES {
            let message = format!("{count} rules are too many; at most {MOST_RULES} are allowed");
            problems.push(about_document("document", &message));
        } else {
            check::merged(&rules, &mut problems);
            services::check(&services, &mut problems);
        }
        if problems.is_empty() {
            return Ok(Self { rules, services });
        }
        // By rule, in the order found; what is about the document or its services comes first.
        problems.sort_by_key(|problem| problem.rule);
        let mut seen = std::collections::HashSet::new();
        problems.retain(|problem| seen.insert(problem.clone()));
        Err(problems)
    }

    /// The rules about services, in the order of the document.
    #[must_use]
    pub fn services(&self) -> &[ServiceRule] {
        &self.services
    }

    /// The rules, in the order of the document.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Each rule with the settings of an edge that it alone tells from others: its own over those of all more general rules,
    /// with what presets fill. The most general rule comes first.
    pub fn inherited(&self) -> impl Iterator<Item = (&Rule, Table)> {
        let (index, _) = Index::new(&self.rules);
        let mut rules: Vec<&Rule> = self.rules.iter().collect();
        rules.sort_by_key(|rule| (rule.service != "*", rule.operation.is_some(), rule.caller.is_some()));
        rules.into_iter().map(move |rule| {
            let matching = index.matching(rule.caller.as_deref(), &rule.service, rule.operation.as_deref());
            (rule, Merged::of(&self.rules, &matching).table)
        })
    }

    /// The document as TOML, without comments.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let edges: Vec<_> = self.rules.iter().map(|rule| Value::Table(rule.to_table())).collect();
        let services: Vec<_> = self.services.iter().map(|rule| Value::Table(rule.to_table())).collect();
        let lists = [("edge", edges), ("service", services)].into_iter().filter(|(_, list)| !list.is_empty());
        let top: Table = lists.map(|(name, list)| (name.to_owned(), Value::Array(list))).collect();
        toml::to_string(&top).unwrap_or_default()
    }
}

fn about_document(path: &str, message: &str) -> Problem {
    Problem { path: path.to_owned(), message: message.to_owned(), rule: None }
}
