//! The console of Fuseboard: what a person sees of the calls between services, and where they act on them.
//!
//! [`app::run`] opens a window onto a collector; [`shot::draw`] draws the same frame without a window. Views read an
//! immutable model and push commands; one room ([`link`]) talks to the collector.

pub mod app;
mod command;
pub mod link;
mod model;
pub mod raster;
pub mod shot;
#[doc(hidden)]
pub mod testing;
mod time;
mod views;
mod widgets;
pub mod wire;

pub use model::{SourceKind, ThemeChoice, View};
