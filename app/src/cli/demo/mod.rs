//! `fuseboard demo`: the shop, a collector and the console.

mod headless;
mod report;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fuseboard_demo::Weather;

use super::{open, source, span};

/// Arguments of `demo`.
#[derive(Args)]
pub(super) struct DemoArgs {
    /// No window: play, then print a report.
    #[arg(long)]
    headless: bool,
    /// How long; without it the weather is played once (headless) or until the window closes.
    #[arg(long = "for", value_name = "TIME", value_parser = span::lasting)]
    length: Option<Duration>,
    /// What goes wrong: calm, slow-payments, flapping-bank, overload, bad-instance, bad-release or story.
    #[arg(long, value_name = "NAME", default_value = "story")]
    weather: Weather,
    /// Decides everything that looks like chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Checkouts a second; the services make about ten calls to each other for each.
    #[arg(long, default_value_t = 30.0)]
    rate: f64,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
    /// Keep the collector's data in this file instead of a temporary one.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Where the incident file is written, headless; must not exist. Default: a new file in the user's data folder.
    #[arg(long, value_name = "FILE")]
    incident: Option<PathBuf>,
}

/// Plays the demo, in a window or without.
pub(super) fn run(args: &DemoArgs) -> Result<()> {
    let runtime = source::runtime()?;
    if !args.headless && !open::display() {
        eprintln!(
            "There is no display (neither WAYLAND_DISPLAY nor DISPLAY is set): playing in the terminal, as with --headless."
        );
    } else if !args.headless {
        let stage = runtime.block_on(stage::Stage::set(args))?;
        match open::window(stage.source(), runtime.handle()) {
            Err(error) if open::no_window(&error) => {
                eprintln!("{error:#}\nPlaying in the terminal, as with --headless.");
                return runtime.block_on(headless::play(args, stage));
            }
            done => {
                runtime.block_on(stage.strike());
                return done;
            }
        }
    }
    runtime.block_on(async { headless::play(args, stage::Stage::set(args).await?).await })
}
