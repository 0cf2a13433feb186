//! `fuseboard-demo`: the shop by itself, against any collector.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use fuseboard_demo::{Shop, ShopConfig, Weather};

/// A small shop of microservices with scripted weather, against a collector.
#[derive(Debug, Parser)]
#[command(name = "fuseboard-demo", version)]
struct Args {
    /// The collector's OTLP/gRPC address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4317")]
    collector_otlp: String,
    /// The collector's control address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4390")]
    control: String,
    /// What goes wrong: calm, slow-payments, flapping-bank, overload, bad-instance, bad-release or story.
    #[arg(long, value_name = "NAME", default_value = "story")]
    weather: Weather,
    /// Checkouts a second; the services make about ten calls to each other for each.
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    rate: f64,
    /// Decides everything that looks like chance.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long to stay open, as in `90s` or `5m`; until Ctrl-C when absent.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    open_for: Option<Duration>,
    /// Where the agents keep their last good policy; nowhere when absent.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let shop = Shop::start(ShopConfig {
        otlp: args.collector_otlp,
        control: Some(args.control),
        seed: args.seed,
        state_dir: args.state_dir,
        rate: args.rate,
        weather: args.weather,
        ..ShopConfig::default()
    })
    .await?;
    for gateway in shop.gateways() {
        eprintln!("gateway on http://{gateway}");
    }
    shop.traffic()?;
    let mut weather = shop.weather_changes();
    let closing = closing_time(args.open_for);
    tokio::pin!(closing);
    loop {
        tokio::select! {
            result = &mut closing => {
                result?;
                break;
            }
            Ok(()) = weather.changed() => eprintln!("{}", *weather.borrow_and_update()),
        }
    }
    eprintln!("closing");
    let report = shop.shutdown().await;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

/// Returns when the time is over or on Ctrl-C.
async fn closing_time(open_for: Option<Duration>) -> Result<()> {
    let over = async {
        match open_for {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = over => Ok(()),
        signal = tokio::signal::ctrl_c() => signal.context("cannot wait for Ctrl-C; give --for instead"),
    }
}

/// Reads `500ms`, `90s`, `5m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time; write it as 500ms, 90s, 5m or 1h");
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "90", "s", "1d", "-1s", "99999999999999999999h", "9999999999999999h"] {
            assert!(duration(wrong).unwrap_err().contains("90s"), "{wrong}");
        }
    }
}
