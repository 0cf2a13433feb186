//! One rule of a document.

use std::fmt;

use toml::{Table, Value};

use crate::settings::EdgeSettings;

/// Settings for the edges that a rule matches. What it leaves out is inherited.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// `service.name` of the caller; absent means every caller.
    pub caller: Option<String>,
    /// `service.name` of the callee; `*` means every callee.
    pub service: String,
    /// The callee's operation; absent means every one.
    pub operation: Option<String>,
    /// The settings as written: tables may be partial here, which [`EdgeSettings`] cannot say.
    pub(crate) table: Table,
}

impl Rule {
    /// A rule with whole tables.
    #[must_use]
    pub fn new(caller: Option<String>, service: String, operation: Option<String>, settings: &EdgeSettings) -> Self {
        // Fails only for integers beyond 63 bits, which a document cannot hold.
        let table = Table::try_from(settings).unwrap_or_default();
        Self { caller, service, operation, table }
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
        let names =
            [("caller", &self.caller), ("service", &Some(self.service.clone())), ("operation", &self.operation)];
        for (name, value) in names {
            if let Some(value) = value {
                table.insert(name.to_owned(), Value::String(value.clone()));
            }
        }
        table
    }
}

/// `orders:payments/payments.v1.Payments/Charge`, `payments`, `*`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(caller) = &self.caller {
            write!(f, "{caller}:")?;
        }
        f.write_str(&self.service)?;
        match &self.operation {
            Some(operation) => write!(f, "/{operation}"),
            None => Ok(()),
        }
    }
}
