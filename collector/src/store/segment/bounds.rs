//! What a block says of itself, checked before Arrow believes it.
//!
//! Arrow's reader checks the values of arrays, but takes the places and sizes of buffers as they are given and panics where
//! they do not fit. The checksum keeps chance away from it; this keeps away whoever knows how to make checksums.

use arrow_ipc::{MessageHeader, RecordBatch};

use super::SegmentError;

/// The most that a buffer may become: offsets into it are signed numbers of 32 bits.
const BUFFER: u64 = 1 << 31;

/// A Zstandard block grows to 128 KiB at most and takes four bytes at least, so that a frame grows by no more than this.
const GROWTH: u64 = (128 << 10) / 4;

/// Checks a block: a message of `meta` bytes, then its buffers.
pub(super) fn check(data: &[u8], meta: usize) -> Result<(), SegmentError> {
    let (head, body) = data.split_at_checked(meta).ok_or_else(|| damaged("a block is cut short"))?;
    let message =
        head.get(8..).filter(|_| head.starts_with(&[0xff; 4])).ok_or_else(|| damaged("a block has no head"))?;
    let message = arrow_ipc::root_as_message(message).map_err(|e| SegmentError::damaged(e.to_string()))?;
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|d| d.data()),
        _ => None,
    };
    batch_fits(batch.ok_or_else(|| damaged("a block holds no values"))?, body)
}

fn batch_fits(batch: RecordBatch<'_>, body: &[u8]) -> Result<(), SegmentError> {
    let rows = batch.length();
    let node_fits = |node: &arrow_ipc::FieldNode| node.length() == rows && (0..=rows).contains(&node.null_count());
    if !(0..=i64::from(i32::MAX)).contains(&rows) || !batch.nodes().iter().flatten().all(node_fits) {
        return Err(damaged("a column is of another length than the others"));
    }
    let compressed = batch.compression().is_some();
    for buffer in batch.buffers().iter().flatten() {
        let place = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = place.and_then(|(at, len)| body.get(at..at.checked_add(len)?));
        let bytes = bytes.ok_or_else(|| damaged("a buffer reaches beyond its block"))?;
        if compressed && !bytes.is_empty() && !grows_sensibly(bytes) {
            return Err(damaged("a buffer is larger than it can be"));
        }
    }
    Ok(())
}

/// Whether a compressed buffer can become what it says; -1 says that it is not compressed.
fn grows_sensibly(bytes: &[u8]) -> bool {
    let Some((size, frame)) = bytes.split_first_chunk() else { return false };
    match i64::from_le_bytes(*size) {
        -1 => true,
        size => u64::try_from(size).is_ok_and(|size| size <= BUFFER.min(frame.len() as u64 * GROWTH)),
    }
}

fn damaged(what: &str) -> SegmentError {
    SegmentError::damaged(what)
}
