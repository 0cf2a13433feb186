//! Planned failures, mostly of the real program in a process of its own.
//!
//! A short form of each runs with all other tests; `FUSEBOARD_FAULTS=long cargo test -p fuseboard-collector faults` runs
//! the long ones. Where this system does not allow a failure to be planned (mounting a file system takes root), a line
//! that begins with `not run: ` says so.

mod clocks;
mod damage;
mod disk;
mod kill;
mod locked;
mod program;
mod raw;
mod scale;
mod segments;
mod slow;

use std::io::Write as _;

use rand::Rng as _;
use rand::rngs::SmallRng;

/// The first number in short, the second in long form.
fn short_or_long(short: u32, long: u32) -> u32 {
    if std::env::var("FUSEBOARD_FAULTS").is_ok_and(|form| form == "long") { long } else { short }
}

/// Says that a test could not be run here, past the capture of tests' output.
fn not_run(what: &str, why: &str) {
    // Nothing can be done when nobody listens.
    let _ = writeln!(std::io::stderr(), "not run: {what} ({why})");
}

/// Text that no compression makes smaller than three quarters.
fn noise(random: &mut SmallRng, length: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// Files that a process may have open, once the limit is as high as it can be.
fn open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
