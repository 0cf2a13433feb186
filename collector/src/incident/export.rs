//! An incident as a file of its own.

use std::path::Path;

use fuseboard_api::ask::Refusal;

use crate::control::refusal::unavailable;
use crate::store::Store;

pub(crate) async fn export(_: &Store, _: u64, _: &Path) -> Result<String, Refusal> {
    Err(unavailable("not yet"))
}
