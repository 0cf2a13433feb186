//! Where old pictures are taken apart: beside the frame. To free a board of thousands of links, or a trace of a million spans, takes
//! longer than a frame may.

use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Things that wait at most; with more the frame takes them apart itself.
const WAITING: usize = 64;

type Thing = Box<dyn Send>;

fn bin() -> Option<&'static SyncSender<Thing>> {
    static BIN: OnceLock<Option<SyncSender<Thing>>> = OnceLock::new();
    let open = || {
        let (put, things) = sync_channel::<Thing>(WAITING);
        let spawned =
            std::thread::Builder::new().name("bin".to_owned()).spawn(move || things.into_iter().for_each(drop));
        match spawned {
            Ok(_) => Some(put),
            Err(error) => {
                tracing::debug!(%error, "no thread for old pictures; frames take them apart themselves");
                None
            }
        }
    };
    BIN.get_or_init(open).as_ref()
}

/// Takes `thing` apart on another thread. Drops it here when that is too busy or cannot be had.
pub(crate) fn discard(thing: impl Send + 'static) {
    if let Some(bin) = bin() {
        // Whatever is not taken comes back in the error, and ends here.
        let _ = bin.try_send(Box::new(thing));
    }
}
