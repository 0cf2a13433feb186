//! Which switches are shown, and in which order.

use super::switches::Switch;

/// Which switches are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Filter {
    /// Every one.
    #[default]
    All,
    /// Open, probing, in shadow, forced open.
    NotClosed,
    /// Closed, but near its threshold.
    AtRisk,
    /// Set by hand.
    Overridden,
}

impl Filter {
    /// In the order of the tabs.
    pub(crate) const ALL: [Self; 4] = [Self::All, Self::NotClosed, Self::AtRisk, Self::Overridden];

    /// The tab's word.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::NotClosed => "Not closed",
            Self::AtRisk => "At risk",
            Self::Overridden => "Overridden",
        }
    }

    /// Whether `switch` is wanted.
    pub(crate) fn wants(self, switch: &Switch<'_>) -> bool {
        match self {
            Self::All => true,
            Self::NotClosed => !switch.is_closed(),
            Self::AtRisk => switch.is_at_risk(),
            Self::Overridden => switch.is_overridden(),
        }
    }
}

/// The order of the switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// Worst first, then the busiest.
    #[default]
    Risk,
    /// By caller, callee, operation.
    Name,
    /// Busiest first.
    Rate,
}

impl Order {
    /// Its word.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Risk => "risk",
            Self::Name => "name",
            Self::Rate => "rate",
        }
    }

    /// The next one.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Risk => Self::Name,
            Self::Name => Self::Rate,
            Self::Rate => Self::Risk,
        }
    }
}
