//! Bytes in: unpacked, looked at ahead, counted.

use std::cell::{Cell, RefCell};
use std::io::{self, BufReader, Cursor, Read};
use std::rc::Rc;

use super::Packing;
use super::detect::{GZIP, MARK, ZSTD};

pub(super) type Stream<'a> = Box<dyn Read + 'a>;

/// Bytes looked at to tell what a file is.
const HEAD: usize = 4096;

/// Unpacked content.
pub(super) struct Opened<'a> {
    /// Its first bytes; they are in the stream, too.
    pub(super) head: Vec<u8>,
    /// All of it.
    pub(super) stream: Stream<'a>,
    /// How it was packed.
    pub(super) packing: Option<Packing>,
}

/// The first bytes of a stream, and the stream as it was.
pub(super) fn peek<'a>(mut stream: Stream<'a>) -> io::Result<(Vec<u8>, Stream<'a>)> {
    let mut head = Vec::new();
    stream.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(stream);
    Ok((head, Box::new(whole)))
}

/// Unpacks what is packed.
pub(super) fn open(raw: Stream<'_>) -> io::Result<Opened<'_>> {
    let (head, stream) = peek(raw)?;
    let (packing, unpacked): (_, Stream<'_>) = if head.starts_with(&GZIP) {
        (Packing::Gzip, Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(stream))))
    } else if head.starts_with(&ZSTD) {
        (Packing::Zstd, Box::new(zstd::stream::read::Decoder::new(stream)?))
    } else {
        return Ok(Opened { head, stream, packing: None });
    };
    let bad = |e: io::Error| io::Error::new(e.kind(), format!("it begins like {packing} but cannot be unpacked: {e}"));
    let (head, stream) = peek(unpacked).map_err(bad)?;
    Ok(Opened { head, stream, packing: Some(packing) })
}

/// How far a stream was read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    bytes: Cell<u64>,
    breaks: Cell<u64>,
    mark: Cell<u64>,
    last: Cell<u8>,
    broken: RefCell<Option<String>>,
    too_long: Cell<bool>,
}

impl Seen {
    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// The line that the next byte is on, from 1.
    pub(super) fn line(&self) -> u64 {
        self.breaks.get() + 1
    }

    /// The last byte read.
    pub(super) fn last(&self) -> u8 {
        self.last.get()
    }

    /// A record begins: only its own bytes count from here.
    pub(super) fn mark(&self) {
        self.mark.set(self.bytes.get());
    }

    /// Bytes since the mark.
    pub(super) fn since_mark(&self) -> u64 {
        self.bytes.get() - self.mark.get()
    }

    /// Whether a record had more bytes than one may have.
    pub(super) fn too_long(&self) -> bool {
        self.too_long.get()
    }

    /// Why no more could be read.
    pub(super) fn broken(&self) -> Option<String> {
        self.broken.borrow().clone()
    }
}

/// A stream that counts, and that stops when a single record grows too long.
pub(super) struct Meter<'a> {
    inner: BufReader<Stream<'a>>,
    seen: Rc<Seen>,
    most: u64,
    /// A byte that was given back; it was counted already.
    again: Option<u8>,
}

impl<'a> Meter<'a> {
    /// Counts a stream from its begin; a byte order mark is left out. A record may have `most` bytes.
    pub(super) fn new(stream: Stream<'a>, most: u64) -> io::Result<Self> {
        let mut inner = BufReader::with_capacity(256 * 1024, stream);
        if io::BufRead::fill_buf(&mut inner)?.starts_with(&MARK) {
            io::BufRead::consume(&mut inner, MARK.len());
        }
        Ok(Self { inner, seen: Rc::default(), most, again: None })
    }

    /// What it counts.
    pub(super) fn seen(&self) -> Rc<Seen> {
        self.seen.clone()
    }

    /// Gives the last byte back, unless it was white space.
    pub(super) fn unread(&mut self) {
        let last = self.seen.last();
        if !last.is_ascii_whitespace() {
            self.again = Some(last);
        }
    }

    /// Reads up to and with the next line break; false at the end.
    pub(super) fn skip_line(&mut self) -> io::Result<bool> {
        let mut byte = [0];
        loop {
            self.seen.mark();
            if self.read(&mut byte)? == 0 {
                return Ok(false);
            }
            if byte == [b'\n'] {
                return Ok(true);
            }
        }
    }

    /// Fills `buffer`; false when the stream ends before its first byte.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read(rest)? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        Ok(true)
    }
}

impl Read for Meter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let seen = &*self.seen;
        if let (Some(first), Some(byte)) = (buffer.first_mut(), self.again.take()) {
            *first = byte;
            return Ok(1);
        }
        if let Some(why) = seen.broken() {
            return Err(io::Error::other(why));
        }
        if seen.since_mark() > self.most {
            seen.too_long.set(true);
            return Err(io::Error::other("a record is too long"));
        }
        let read = loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let count = read.inspect_err(|e| *seen.broken.borrow_mut() = Some(e.to_string()))?;
        let got = buffer.get(..count).unwrap_or_default();
        seen.bytes.set(seen.bytes.get() + count as u64);
        seen.breaks.set(seen.breaks.get() + got.iter().filter(|b| **b == b'\n').count() as u64);
        if let Some(last) = got.last() {
            seen.last.set(*last);
        }
        Ok(count)
    }
}
