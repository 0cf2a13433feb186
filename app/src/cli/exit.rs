//! What the exit codes mean.

use std::process::ExitCode;

use fuseboard::wire::WireError;
use fuseboard_api::ask::Refusal;

/// For `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  failed: a file, a display or something else of this machine
  2  the command line makes no sense, or a document is invalid
  3  no collector answers at the address, or none that is trusted
  4  the collector refused, or what was asked for is not there or was not reached
  5  `policy plan`: settings would change
  6  somebody else changed the policy meanwhile: look, and plan or edit again";

/// Why a subcommand did not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody answers at the collector's address.
    #[error(
        "no collector answers at {url}: {why}\nStart one with `fuseboard`, `fuseboard demo` or `fuseboard-collector`, or give its control address with --to."
    )]
    Unreachable {
        /// The address tried.
        url: String,
        /// What happened.
        why: String,
    },
    /// Who answers is not trusted, or does not trust us.
    #[error(
        "no trusted connection to {url}: {why}\nSay with --ca FILE who signs the collector's certificate; a collector that asks for one of yours takes it with --cert and --key."
    )]
    Untrusted {
        /// The address tried.
        url: String,
        /// What TLS says.
        why: String,
    },
    /// Somebody answers at the address, in other words than a collector's.
    #[error(
        "{url} is not a Fuseboard collector's control address: {why}\nA collector prints its addresses at its start; the control address is http://127.0.0.1:4390 unless told otherwise."
    )]
    Stranger {
        /// The address asked.
        url: String,
        /// What came instead of an answer.
        why: String,
    },
    /// The collector answered with a refusal.
    #[error("refused ({}): {}", .0.code, .0.message)]
    Refused(Refusal),
    /// The work was done and its result is not what was asked for.
    #[error("{0}")]
    NotMet(String),
    /// What was given makes no sense; clap finds the rest.
    #[error("{0}")]
    Usage(String),
    /// Nothing is wrong, but something would change.
    #[error("{0}")]
    Pending(String),
    /// The policy is no longer what the change was made from.
    #[error("{0}")]
    Moved(String),
}

impl Failure {
    /// Why there was no answer.
    pub(super) fn of(url: &str, error: &WireError) -> Self {
        let (url, why) = (url.to_owned(), error.to_string());
        match error {
            WireError::Untrusted(_) => Self::Untrusted { url, why },
            _ => Self::Unreachable { url, why },
        }
    }
}

/// Says what went wrong on stderr and gives the code.
pub(super) fn report(done: anyhow::Result<()>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    // A reader that has seen enough (`| head`) is no failure.
    if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let message = format!("fuseboard: {error:#}\n");
    // Nothing is left to tell it to when stderr itself is gone.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), message.as_bytes());
    ExitCode::from(code(&error))
}

/// The exit code of a failure.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Unreachable { .. } | Failure::Untrusted { .. } | Failure::Stranger { .. }) => 3,
        Some(Failure::Refused(refusal)) if refusal.code == "conflict" => 6,
        Some(Failure::Refused(_) | Failure::NotMet(_)) => 4,
        Some(Failure::Usage(_)) => 2,
        Some(Failure::Pending(_)) => 5,
        Some(Failure::Moved(_)) => 6,
        None => 1,
    }
}
