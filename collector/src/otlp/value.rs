//! Attributes, and the messages around a span that are kept as they were sent.

use super::wire::{Cursor, Fault, enter};
use super::{FlatAttr, Slice, Tag};

/// Attributes that a record may have; more than that is no telemetry.
pub(super) const MAX_ATTRIBUTES: usize = 10_000;

/// An attribute, and whether it says something beside its key and value.
pub(super) struct Attribute {
    pub(super) flat: FlatAttr,
    pub(super) odd: bool,
}

/// Reads the inside of a `KeyValue`.
#[inline]
pub(super) fn attribute(mut c: Cursor<'_>, depth: u32) -> Result<Attribute, Fault> {
    let whole = c.slice();
    let inside = enter(depth)?;
    let mut key = Slice::EMPTY;
    let mut value = None;
    let mut odd = false;
    while !c.done() {
        match c.key()? {
            10 => key = c.text()?,
            18 if value.is_some() => return Err(Fault::Twice),
            18 => value = Some(any(c.inner()?, inside)?),
            24 => odd |= c.varint()? as i32 != 0,
            other => {
                c.other(other, 0b1110, inside)?;
                odd = true;
            }
        }
    }
    let Any { tag, value, odd: within } = value.unwrap_or(Any { tag: Tag::Empty, value: 0, odd: true });
    Ok(Attribute { flat: FlatAttr { key, tag, value, whole }, odd: odd | within })
}

/// A value, its bits, and whether it says something else.
#[derive(Clone, Copy)]
struct Any {
    tag: Tag,
    value: u64,
    odd: bool,
}

/// Reads the inside of an `AnyValue`.
#[inline]
fn any(mut c: Cursor<'_>, depth: u32) -> Result<Any, Fault> {
    let whole = c.slice();
    let inside = enter(depth)?;
    let mut any = Any { tag: Tag::Empty, value: 0, odd: false };
    let mut set = false;
    while !c.done() {
        let key = c.key()?;
        let (tag, value) = match key {
            10 => (Tag::Str, FlatAttr::bits_of(c.text()?)),
            16 => (Tag::Bool, u64::from(c.varint()? != 0)),
            24 => (Tag::Int, c.varint()?),
            33 => (Tag::Double, c.fixed64()?),
            42 => {
                list(c.inner()?, inside)?;
                (Tag::Nested, FlatAttr::bits_of(whole))
            }
            50 => {
                map(c.inner()?, inside)?;
                (Tag::Nested, FlatAttr::bits_of(whole))
            }
            58 => (Tag::Bytes, FlatAttr::bits_of(c.inner()?.slice())),
            64 => {
                c.varint()?;
                any.odd = true;
                (Tag::Nested, FlatAttr::bits_of(whole))
            }
            other => {
                c.other(other, 0b1_1111_1110, inside)?;
                any.odd = true;
                continue;
            }
        };
        // The last one wins, but two lists are one.
        if set {
            return Err(Fault::Twice);
        }
        (any.tag, any.value, set) = (tag, value, true);
    }
    Ok(any)
}

fn list(mut c: Cursor<'_>, depth: u32) -> Result<(), Fault> {
    let inside = enter(depth)?;
    while !c.done() {
        match c.key()? {
            10 => any(c.inner()?, inside).map(drop)?,
            other => c.other(other, 0b10, inside)?,
        }
    }
    Ok(())
}

fn map(mut c: Cursor<'_>, depth: u32) -> Result<(), Fault> {
    let inside = enter(depth)?;
    while !c.done() {
        match c.key()? {
            10 => attribute(c.inner()?, inside).map(drop)?,
            other => c.other(other, 0b10, inside)?,
        }
    }
    Ok(())
}

/// Checks the inside of an `Event`; says how many attributes it has.
pub(super) fn event(mut c: Cursor<'_>, depth: u32) -> Result<usize, Fault> {
    let inside = enter(depth)?;
    let mut attributes = 0;
    while !c.done() {
        match c.key()? {
            9 => c.fixed64().map(drop)?,
            18 => c.text().map(drop)?,
            26 => {
                attribute(c.inner()?, inside)?;
                attributes += 1;
            }
            32 => c.varint().map(drop)?,
            other => c.other(other, 0b1_1110, inside)?,
        }
    }
    Ok(attributes)
}

/// Checks the inside of a `Link`; says how many attributes it has.
pub(super) fn link(mut c: Cursor<'_>, depth: u32) -> Result<usize, Fault> {
    let inside = enter(depth)?;
    let mut attributes = 0;
    while !c.done() {
        match c.key()? {
            10 | 18 => c.inner().map(drop)?,
            26 => c.text().map(drop)?,
            34 => {
                attribute(c.inner()?, inside)?;
                attributes += 1;
            }
            40 => c.varint().map(drop)?,
            53 => c.fixed32().map(drop)?,
            other => c.other(other, 0b111_1110, inside)?,
        }
    }
    Ok(attributes)
}

/// What a `Resource` says of a service.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Service {
    pub(super) name: Slice,
    pub(super) instance: Slice,
    pub(super) version: Slice,
}

/// Reads the inside of a `Resource`.
pub(super) fn resource(mut c: Cursor<'_>, bytes: &[u8], depth: u32) -> Result<Service, Fault> {
    let inside = enter(depth)?;
    let (mut name, mut instance, mut version) = (None, None, None);
    while !c.done() {
        match c.key()? {
            10 => {
                let attr = attribute(c.inner()?, inside)?.flat;
                let place = match attr.key.of(bytes) {
                    b"service.name" => &mut name,
                    b"service.instance.id" => &mut instance,
                    b"service.version" => &mut version,
                    _ => continue,
                };
                // The first of several counts, whatever it is.
                place.get_or_insert(if attr.tag == Tag::Str { attr.slice() } else { Slice::EMPTY });
            }
            16 => c.varint().map(drop)?,
            26 => entity(c.inner()?, inside)?,
            other => c.other(other, 0b1110, inside)?,
        }
    }
    let text = |slice: Option<Slice>| slice.unwrap_or_default();
    Ok(Service { name: text(name), instance: text(instance), version: text(version) })
}

fn entity(mut c: Cursor<'_>, depth: u32) -> Result<(), Fault> {
    let inside = enter(depth)?;
    while !c.done() {
        match c.key()? {
            10 | 18 | 26 | 34 => c.text().map(drop)?,
            other => c.other(other, 0b1_1110, inside)?,
        }
    }
    Ok(())
}

/// Checks the inside of an `InstrumentationScope`.
pub(super) fn scope(mut c: Cursor<'_>, depth: u32) -> Result<(), Fault> {
    let inside = enter(depth)?;
    while !c.done() {
        match c.key()? {
            10 | 18 => c.text().map(drop)?,
            26 => attribute(c.inner()?, inside).map(drop)?,
            32 => c.varint().map(drop)?,
            other => c.other(other, 0b1_1110, inside)?,
        }
    }
    Ok(())
}
