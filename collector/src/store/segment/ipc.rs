//! Columns into a blob, and back as far as asked for.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_ipc::{Block, CompressionType, MetadataVersion};
use arrow_schema::{DataType, Metadata, Schema};

use super::checksum::{hash, hash_with};
use super::{Built, Part, Parts, SegmentError, bounds, name};

/// Bytes of the checksum before the footer.
const CHECKSUM: usize = 8;

/// Length of the footer and the magic word behind it.
const TRAILER: usize = 10;

/// The blob of a segment.
///
/// # Errors
/// When Arrow refuses the columns, which [`super::build`] never makes it do.
pub fn encode(built: &Built) -> Result<Vec<u8>, SegmentError> {
    let write = || {
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?
            .try_with_compression(Some(CompressionType::ZSTD))?
            .try_with_compression_level(Some(1))?;
        let mut writer = FileWriter::try_new_with_options(Vec::new(), built.batch.schema_ref(), options)?;
        writer.write(&built.batch)?;
        writer.into_inner()
    };
    seal(write().map_err(|e| SegmentError::arrow(&e))?)
}

/// Puts the checksum into an Arrow file.
pub(super) fn seal(mut bytes: Vec<u8>) -> Result<Vec<u8>, SegmentError> {
    let footer = footer_at(&bytes)?;
    let sum = hash_with(hash(&bytes[..footer]), &bytes[footer..]);
    bytes.splice(footer..footer, sum.to_le_bytes());
    Ok(bytes)
}

/// Where the footer begins.
pub(super) fn footer_at(bytes: &[u8]) -> Result<usize, SegmentError> {
    let trailer: [u8; TRAILER] = *bytes.last_chunk().ok_or_else(|| SegmentError::damaged("it is cut short"))?;
    let length = read_footer_length(trailer).map_err(|e| SegmentError::arrow(&e))?;
    bytes.len().checked_sub(TRAILER + length).ok_or_else(|| SegmentError::damaged("its footer is cut short"))
}

/// The columns that `parts` need; the schema keeps the metadata of all.
pub(super) fn decode(bytes: Vec<u8>, parts: &Parts) -> Result<RecordBatch, SegmentError> {
    // Arrow panics at some lengths that nobody writes. Whoever forges a checksum, too, may not take the program down.
    std::panic::catch_unwind(|| believe(bytes, parts))
        .unwrap_or_else(|_| Err(SegmentError::damaged("its columns make no sense")))
}

fn believe(bytes: Vec<u8>, parts: &Parts) -> Result<RecordBatch, SegmentError> {
    let footer_at = footer_at(&bytes)?;
    check(&bytes, footer_at)?;
    let buffer = Buffer::from_vec(bytes);
    let footer = buffer.get(footer_at..buffer.len() - TRAILER).unwrap_or_default();
    let footer = arrow_ipc::root_as_footer(footer).map_err(|e| SegmentError::damaged(e.to_string()))?;
    let schema = footer.schema().ok_or_else(|| SegmentError::damaged("its footer has no schema"))?;
    let schema = Arc::new(arrow_ipc::convert::try_fb_to_schema(schema).map_err(|e| SegmentError::arrow(&e))?);
    match schema.metadata().get(name::META_FORMAT) {
        Some(format) if format == name::FORMAT => {}
        Some(other) => return Err(SegmentError::Newer(other.clone())),
        None => return Err(SegmentError::damaged("it is no segment but some other Arrow file")),
    }
    let wanted = Wanted::of(parts, schema.metadata());
    let columns = schema.fields().iter().enumerate().filter(|(_, field)| wanted.has(field.name()));
    let columns: Vec<usize> = columns.map(|(i, _)| i).collect();
    let mut decoder = FileDecoder::new(schema.clone(), footer.version()).with_projection(columns.clone());
    let blocks = footer.dictionaries();
    for (field, block) in dictionaries(&schema).zip(blocks.iter().flatten()) {
        if columns.binary_search(&field).is_ok() {
            let data = block_data(&buffer, block, footer_at)?;
            decoder.read_dictionary(block, &data).map_err(|e| SegmentError::arrow(&e))?;
        }
    }
    let batches = footer.recordBatches().filter(|batches| batches.len() == 1);
    let block = batches.map(|batches| *batches.get(0)).ok_or_else(|| SegmentError::damaged("it is not one batch"))?;
    let data = block_data(&buffer, &block, footer_at)?;
    let batch = decoder.read_record_batch(&block, &data).map_err(|e| SegmentError::arrow(&e))?;
    batch.ok_or_else(|| SegmentError::damaged("its batch is missing"))
}

/// Nothing of a blob is believed before its checksum is.
fn check(bytes: &[u8], footer_at: usize) -> Result<(), SegmentError> {
    let (before, rest) = bytes.split_at(footer_at);
    let (data, sum) = before.split_last_chunk::<CHECKSUM>().ok_or_else(|| SegmentError::damaged("it is cut short"))?;
    if u64::from_le_bytes(*sum) != hash_with(hash(data), rest) {
        return Err(SegmentError::damaged("its checksum does not hold"));
    }
    Ok(())
}

/// The fields that have a dictionary, in the order in which their dictionaries are written.
fn dictionaries(schema: &Schema) -> impl Iterator<Item = usize> {
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| matches!(field.data_type(), DataType::Dictionary(_, _))).map(|(i, _)| i)
}

/// The bytes of a block.
fn block_data(buffer: &Buffer, block: &Block, end: usize) -> Result<Buffer, SegmentError> {
    let number = |n: i64| usize::try_from(n).ok();
    let length = number(block.bodyLength()).zip(number(block.metaDataLength().into()));
    let length = length.and_then(|(body, meta)| body.checked_add(meta).filter(|_| meta >= 8));
    let inside = |(at, length): &(usize, usize)| at.checked_add(*length).is_some_and(|to| to <= end);
    let (at, length) = number(block.offset())
        .zip(length)
        .filter(inside)
        .ok_or_else(|| SegmentError::damaged("a block reaches beyond the blob"))?;
    let data = buffer.slice_with_length(at, length);
    bounds::check(&data, number(block.metaDataLength().into()).unwrap_or_default())?;
    Ok(data)
}

/// Which columns to read.
struct Wanted<'a> {
    parts: &'a Parts,
    more: bool,
}

impl<'a> Wanted<'a> {
    fn of(parts: &'a Parts, metadata: &Metadata) -> Self {
        let listed: Option<Vec<String>> =
            metadata.get(name::META_MORE).and_then(|list| serde_json::from_str(list).ok());
        let more = match listed {
            Some(listed) => listed.iter().any(|key| parts.has_key(key)),
            None => parts.has(Part::Attributes) || parts.keys().next().is_some(),
        };
        Self { parts, more }
    }

    fn has(&self, column: &str) -> bool {
        let part = match column {
            name::TRACE_ID => return true,
            name::MORE => return self.more,
            name::SPAN_ID | name::PARENT_AT | name::PARENT_ID => Part::Ids,
            name::START_LOW | name::START_HIGH | name::DURATION_LOW | name::DURATION_HIGH => Part::Times,
            name::KIND | name::STATUS | name::MARKS => Part::Kinds,
            name::NAME => Part::Name,
            name::ORIGIN => Part::Origin,
            name::ARRIVAL => Part::Arrival,
            name::PEER => Part::Peer,
            name::STATUS_MESSAGE => Part::StatusMessage,
            name::EVENTS => Part::Events,
            name::LINKS => Part::Links,
            name::SHAPE => Part::Attributes,
            name::TRACE_STATE | name::FLAGS => Part::State,
            _ if name::DROPPED.contains(&column) => Part::State,
            _ => return name::attribute(column).is_some_and(|(_, key)| self.parts.has_key(key)),
        };
        self.parts.has(part)
    }
}
