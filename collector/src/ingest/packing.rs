//! Compressed bodies: unpacked within the limit, whatever they claim.

use std::io::Read;

use axum::body::Bytes;

use super::fault::Fault;
use super::room::Room;

/// The first piece of room for what is unpacked, in bytes.
const FIRST: usize = 32 * 1024;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Deflate,
}

impl Packing {
    /// What `Content-Encoding` and `grpc-encoding` call it.
    pub(super) fn named(name: &str) -> Result<Self, Fault> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            other => Err(Fault::Packing(other.chars().take(40).collect())),
        }
    }

    /// Unpacks a body; it never takes more than `limit` bytes and its share of `room`.
    pub(super) fn undo(self, body: Bytes, limit: usize, room: &mut Room) -> Result<Bytes, Fault> {
        match self {
            Self::Plain => Ok(body),
            Self::Gzip => inflate(flate2::read::MultiGzDecoder::new(&body[..]), "gzip", limit, room),
            // HTTP means a zlib stream by it, but some senders send the bare one.
            Self::Deflate if is_zlib(&body) => {
                inflate(flate2::read::ZlibDecoder::new(&body[..]), "deflate", limit, room)
            }
            Self::Deflate => inflate(flate2::read::DeflateDecoder::new(&body[..]), "deflate", limit, room),
        }
    }
}

/// Whether the first two bytes are zlib's header (RFC 1950, section 2.2).
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => method & 0x8f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0,
        _ => false,
    }
}

fn inflate(mut from: impl Read, name: &str, limit: usize, room: &mut Room) -> Result<Bytes, Fault> {
    let mut out = Vec::new();
    loop {
        let more = out.len().max(FIRST).min((limit + 1).saturating_sub(out.len()));
        room.take(more)?;
        out.reserve_exact(more);
        let read = (&mut from).take(more as u64).read_to_end(&mut out);
        let read = read.map_err(|e| Fault::Bad(format!("the body says it is {name} but cannot be unpacked: {e}")))?;
        if out.len() > limit {
            return Err(Fault::TooLarge(limit));
        }
        if read < more {
            return Ok(out.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::super::room::Hall;
    use super::*;

    fn undo(packing: Packing, body: Vec<u8>, limit: usize) -> Result<Bytes, Fault> {
        packing.undo(body.into(), limit, &mut Hall::new(0, 64 * 1024).enter())
    }

    #[test]
    fn every_kind_comes_back_and_stops_at_the_limit() {
        for size in [0, 1, FIRST - 1, FIRST, FIRST + 1, 3 * FIRST] {
            let body: Vec<u8> = (0..size).map(|i| (i / 7) as u8).collect();
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
            let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
            for out in [&mut gzip as &mut dyn std::io::Write, &mut zlib, &mut raw] {
                out.write_all(&body).expect("packed");
            }
            for (packing, packed) in [
                (Packing::Gzip, gzip.finish().expect("packed")),
                (Packing::Deflate, zlib.finish().expect("packed")),
                (Packing::Deflate, raw.finish().expect("packed")),
            ] {
                assert!(undo(packing, packed.clone(), size.max(1)).expect("unpacked") == body, "{packing:?} {size}");
                if size > 1 {
                    assert!(matches!(undo(packing, packed.clone(), size - 1), Err(Fault::TooLarge(_))));
                    let torn = packed[..packed.len() / 2].to_vec();
                    assert!(matches!(undo(packing, torn, size), Err(Fault::Bad(_))), "{packing:?} {size} torn");
                }
            }
        }
    }

    #[test]
    fn a_bomb_takes_no_more_room_than_the_limit() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![0; 4 * 1024 * 1024]).expect("packed");
        let hall = Hall::new(0, 100 * 1024);
        let mut room = hall.enter();
        let told = Packing::Gzip.undo(bomb.finish().expect("packed").into(), 100 * 1024, &mut room);
        assert!(matches!(told, Err(Fault::TooLarge(_))));
        // The hall is eight requests large: seven are still free.
        hall.enter().take(699 * 1024).expect("the bomb took one");
    }

    #[test]
    fn names_are_those_of_http() {
        for (name, packing) in [
            ("", Packing::Plain),
            ("Identity", Packing::Plain),
            (" GZIP", Packing::Gzip),
            ("deflate", Packing::Deflate),
        ] {
            assert_eq!(Packing::named(name).expect("known"), packing);
        }
        assert!(matches!(Packing::named("zstd"), Err(Fault::Packing(_))));
    }
}
