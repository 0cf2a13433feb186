//! A small shop of microservices with scripted weather: something real to look at, to steer and to test against.
//!
//! ```text
//! visitors ─▶ gateway ─┬─▶ orders ─┬─▶ pricing            gRPC, but where it says otherwise
//!              (HTTP)  │           ├─▶ inventory (tarpc) ─▶ stock-cache
//!                      │           ├─▶ payments ─▶ bank (HTTP)
//!                      │           ├─▶ orders-db
//!                      │           ├─▶ [order.events]   ─▶ notifications ─▶ users
//!                      │           └─▶ [order.timeouts] ─▶ order-timeouts ─▶ orders
//!                      ├─▶ pricing
//!                      └─▶ users
//! ```
//!
//! Nine services in fourteen instances, each with an agent of its own, talk over real loopback sockets inside one process.
//! Simulated is only what stands outside: the time that work takes, the two databases (their client spans are what an
//! instrumented driver would make; nothing else of them exists), the queues (channels inside the process), and the mail that
//! notifications sends. Stock, orders and the bank's ledger are real state, so that the saga around an order can be checked.
//!
//! ```no_run
//! # async fn example() -> Result<(), fuseboard_demo::ShopError> {
//! use fuseboard_demo::{Shop, ShopConfig, Weather};
//!
//! let shop = Shop::start(ShopConfig { weather: Weather::Story, ..ShopConfig::default() }).await?;
//! shop.traffic()?;
//! tokio::time::sleep(std::time::Duration::from_secs(60)).await;
//! println!("{:?}", shop.shutdown().await);
//! # Ok(()) }
//! ```

mod addresses;
mod catalog;
mod chance;
mod clients;
mod climate;
mod database;
pub mod echo;
mod instance;
mod launch;
mod queue;
mod report;
mod service;
mod shop;
mod store;
#[cfg(test)]
mod tests;
mod traffic;
mod weather;
mod wire;

pub use report::ShopReport;
pub use shop::{Shop, ShopConfig, ShopError};
pub use weather::{Effect, Failing, Place, Script, Sky, Step, Trouble, UnknownWeather, Weather};

/// The shop's policy document, as TOML: what `fuseboard demo` gives its collector as revision 1, and what every instance obeys
/// until a collector says otherwise.
pub const POLICIES: &str = include_str!("../policies.toml");
