//! Rules about a callee's own side.

use toml::{Table, Value};

use super::Problem;
use super::fields::SERVICE;
use super::kinds::SHED;
use super::schema::{self, Place};
use crate::merge;
use crate::settings::ServiceSettings;

/// Settings for a service. What it leaves out is inherited from `*`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRule {
    /// `service.name`; `*` means every service.
    pub name: String,
    /// The settings as written: tables may be partial here.
    pub(crate) table: Table,
}

impl ServiceRule {
    /// A rule with whole tables.
    #[must_use]
    pub fn new(name: String, settings: &ServiceSettings) -> Self {
        // Fails only for integers beyond 63 bits, which a document cannot hold.
        Self { name, table: Table::try_from(settings).unwrap_or_default() }
    }

    /// The settings as written, sorted by name.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The rule as it stands in a document.
    #[must_use]
    pub fn to_table(&self) -> Table {
        let mut table = self.table.clone();
        table.insert("name".to_owned(), Value::String(self.name.clone()));
        table
    }
}

/// The settings that rules give a service: `*` first, the service's own over it.
pub(crate) fn merged(rules: &[ServiceRule], name: &str) -> Table {
    let mut table = Table::new();
    for wanted in ["*", name] {
        if let Some(rule) = rules.iter().find(|rule| rule.name == wanted) {
            merge::lay(&rule.table, &mut table);
        }
    }
    table
}

/// Reads the value of one `[[service]]`; what is wrong is left out of the rule and reported.
pub(super) fn read_rule(index: usize, value: Value, problems: &mut Vec<Problem>) -> ServiceRule {
    let Value::Table(mut table) = value else {
        let message = "a service is a table: `[[service]]`".to_owned();
        problems.push(Place::service(index, "").problem("", message));
        return ServiceRule { name: "*".to_owned(), table: Table::new() };
    };
    let name = match schema::take_name(&mut table, "name") {
        Ok(Some(name)) => name,
        Ok(None) => {
            let message = "is missing; name the service, or `*` for every one".to_owned();
            problems.push(Place::service(index, "").problem("name", message));
            "*".to_owned()
        }
        Err(message) => {
            problems.push(Place::service(index, "").problem("name", message));
            "*".to_owned()
        }
    };
    clean_rule(index, ServiceRule { name, table }, problems)
}

/// Checks a rule by itself; what is wrong is left out of the answer and reported.
pub(super) fn clean_rule(index: usize, mut rule: ServiceRule, problems: &mut Vec<Problem>) -> ServiceRule {
    let place = Place::service(index, &rule.name);
    if let Some(message) = schema::wrong_name("service", &rule.name) {
        problems.push(place.problem("name", message));
    }
    schema::clean_table(&mut rule.table, SERVICE, &place, problems);
    rule
}

/// Checks the rules together, and every merged result.
pub(super) fn check(rules: &[ServiceRule], problems: &mut Vec<Problem>) {
    for (index, rule) in rules.iter().enumerate() {
        let place = Place::service(index, &rule.name);
        if let Some(first) = rules.iter().take(index).position(|before| before.name == rule.name) {
            let message = format!("is about the same service as service[{}]; join the two", first + 1);
            problems.push(place.problem("", message));
            continue;
        }
        let table = merged(rules, &rule.name);
        let part = |name: &str| table.get(name).and_then(Value::as_table);
        if let Some(message) = part("shed").and_then(|shed| SHED.wrong(shed)) {
            problems.push(place.problem("shed", message));
        }
        if let Some(slo) = part("slo")
            && !slo.contains_key("success")
            && !slo.contains_key("p99_ms")
        {
            problems.push(place.problem("slo", "promises nothing; give success or p99_ms".to_owned()));
        }
        if part("slo").and_then(|slo| slo.get("success")?.as_float()).is_some_and(|share| share == 0.0) {
            problems.push(place.problem("slo.success", "0 promises nothing; give a share such as 0.999".to_owned()));
        }
    }
}
