//! What happens in the fleet, on its way into the store.

use fuseboard_policy::wire::v1;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// A stream came up.
    Connected {
        /// Its number.
        session: i64,
        /// Who.
        hello: v1::Hello,
    },
    /// A stream ended.
    Ended {
        /// Its number.
        session: i64,
        /// Whose.
        service: String,
        /// Whose.
        instance: String,
        /// How.
        how: SessionEnd,
        /// Why, in words.
        detail: String,
    },
    /// An agent told how it is.
    Status {
        /// Its stream.
        session: i64,
        /// Its words.
        status: v1::Status,
    },
    /// An agent went back by itself from a revision that nobody confirmed in time.
    Reverted {
        /// Who.
        service: String,
        /// Who.
        instance: String,
        /// The revision it went back from.
        revision: u64,
    },
    /// An agent has a change, or refused it.
    Acknowledged {
        /// Which change.
        change: ChangeId,
        /// Who.
        service: String,
        /// Who.
        instance: String,
        /// Time from publishing, in milliseconds.
        latency_ms: f64,
        /// Why it refused.
        refused: Option<String>,
    },
    /// An agent told of its breakers.
    Breakers {
        /// Who.
        service: String,
        /// Who.
        instance: String,
        /// Its words.
        report: v1::BreakerReport,
    },
}

/// A revision or an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ChangeId {
    /// A revision's number.
    Revision(u64),
    /// An override.
    Override {
        /// Its id.
        id: u64,
        /// The generation in which it was set, or renewed last.
        generation: u64,
    },
}

impl ChangeId {
    /// Its kind as stored.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Revision(_) => "revision",
            Self::Override { .. } => "override",
        }
    }

    /// Its number.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Revision(n) | Self::Override { id: n, .. } => n,
        }
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The agent said goodbye.
    Closed,
    /// It broke, or fell silent.
    Lost,
    /// The same instance opened a newer one.
    Replaced,
    /// The collector stopped.
    Stopped,
}

impl SessionEnd {
    /// As stored.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Replaced => "replaced",
            Self::Stopped => "stopped",
        }
    }
}
