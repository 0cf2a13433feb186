//! Runs conformance vectors: `cargo run -p fuseboard-policy --example vectors -- FILE…`. Prints one line for each vector
//! that fails and then `N passed, M failed`; ends with an error if any failed.

use std::path::Path;
use std::process::ExitCode;

mod runner;

fn main() -> ExitCode {
    let (mut passed, mut failed) = (0u64, 0u64);
    for file in std::env::args_os().skip(1) {
        match runner::run_file(Path::new(&file)) {
            Ok(()) => passed += 1,
            Err(failure) => {
                failed += 1;
                println!("{failure}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
