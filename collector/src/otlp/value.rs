//! Attributes, and the messages around a span that are kept as they were sent.

use super::wire::{Cursor, Fault, enter, is_ascii};
use super::{FlatAttr, Slice, Tag};

/// Attributes that a record may have; more than that is no telemetry.
pub(super) const MAX_ATTRIBUTES: usize = 10_000;

/// Reads the `KeyValue`s that nearly all are: key and value once and in this order, in ASCII, with lengths of one byte, the
/// value a text, a number or a truth. `None` for all others. Only for places far from the limit of depth.
#[inline(always)]
pub(super) fn usual(mut c: Cursor<'_>) -> Option<FlatAttr> {
    let whole = c.slice();
    let all = c.rest();
    let [10, len, rest @ ..] = all else { return None };
    let (_, rest) = rest.split_at_checked(usize::from(*len))?;
    let [18, inner, rest @ ..] = rest else { return None };
    let [kind, rest @ ..] = rest else { return None };
    let head = 5 + usize::from(*len);
    // Bytes of ASCII are lengths of one byte, too.
    let (tag, value, ascii) = match kind {
        10 => {
            let [len, text @ ..] = rest else { return None };
            if usize::from(*len) != text.len() {
                return None;
            }
            (Tag::Str, FlatAttr::bits_of(whole.part(head + 1, text.len())), all)
        }
        16 | 24 => {
            c.advance(head);
            let value = c.varint().ok()?;
            if !c.done() {
                return None;
            }
            let (tag, value) = if *kind == 24 { (Tag::Int, value) } else { (Tag::Bool, u64::from(value != 0)) };
            (tag, value, all.get(..head)?)
        }
        _ => return None,
    };
    if usize::from(*inner) != rest.len() + 1 || !is_ascii(ascii) {
        return None;
    }
    Some(FlatAttr { key: whole.part(2, usize::from(*len)), tag, value, whole })
}

/// Reads the inside of a `KeyValue` of any shape; `odd` is set where it says something beside its key and value.
#[inline(never)]
pub(super) fn attribute(mut c: Cursor<'_>, depth: u32, odd: &mut bool) -> Result<FlatAttr, Fault> {
    let whole = c.slice();
    let inside = enter(depth)?;
    let mut key = Slice::EMPTY;
    let mut value = None;
    while !c.done() {
        match c.key()? {
            10 => key = c.text()?,
            18 if value.is_some() => return Err(Fault::Twice),
            18 => value = Some(any(c.inner()?, inside, odd)?),
            24 => *odd |= c.varint()? as i32 != 0,
            other => {
                c.other(other, 0b1110, inside)?;
                *odd = true;
            }
        }
    }
    *odd |= value.is_none();
    let (tag, value) = value.unwrap_or((Tag::Empty, 0));
    Ok(FlatAttr { key, tag, value, whole })
}

/// Checks the inside of a `KeyValue`, and counts it.
#[inline]
fn one_more(c: Cursor<'_>, depth: u32, count: &mut usize) -> Result<(), Fault> {
    *count += 1;
    match usual(c) {
        Some(_) => Ok(()),
        None => attribute(c, depth, &mut false).map(drop),
    }
}

/// Reads the inside of an `AnyValue`: what it is, and its bits.
fn any(mut c: Cursor<'_>, depth: u32, odd: &mut bool) -> Result<(Tag, u64), Fault> {
    let whole = FlatAttr::bits_of(c.slice());
    let inside = enter(depth)?;
    let mut value = None;
    while !c.done() {
        let key = c.key()?;
        let this = match key {
            10 => (Tag::Str, FlatAttr::bits_of(c.text()?)),
            16 => (Tag::Bool, u64::from(c.varint()? != 0)),
            24 => (Tag::Int, c.varint()?),
            33 => (Tag::Double, c.fixed64()?),
            58 => (Tag::Bytes, FlatAttr::bits_of(c.inner()?.slice())),
            42 | 50 => {
                nested(c.inner()?, key, inside)?;
                (Tag::Nested, whole)
            }
            64 => {
                c.varint()?;
                *odd = true;
                (Tag::Nested, whole)
            }
            other => {
                c.other(other, 0b1_1111_1110, inside)?;
                *odd = true;
                continue;
            }
        };
        // The last one wins, but two lists are one.
        if value.is_some() {
            return Err(Fault::Twice);
        }
        value = Some(this);
    }
    Ok(value.unwrap_or((Tag::Empty, 0)))
}

/// Checks the inside of a list, or of a map, by the key of its field.
#[inline(never)]
fn nested(c: Cursor<'_>, key: u32, depth: u32) -> Result<(), Fault> {
    if key == 42 { list(c, depth) } else { map(c, depth) }
}

fn list(mut c: Cursor<'_>, depth: u32) -> Result<(), Fault> {
    let inside = enter(depth)?;
    while !c.done() {
        match c.key()? {
            10 => any(c.inner()?, inside, &mut false).map(drop)?,
            other => c.other(other, 0b10, inside)?,
        }
    }
    Ok(())
}

fn map(mut c: Cursor<'_>, depth: u32) -> Result<(), Fault> {
    let inside = enter(depth)?;
    while !c.done() {
        match c.key()? {
            10 => attribute(c.inner()?, inside, &mut false).map(drop)?,
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
            26 => one_more(c.inner()?, inside, &mut attributes)?,
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
            34 => one_more(c.inner()?, inside, &mut attributes)?,
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
                let attr = attribute(c.inner()?, inside, &mut false)?;
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
            26 => attribute(c.inner()?, inside, &mut false).map(drop)?,
            32 => c.varint().map(drop)?,
            other => c.other(other, 0b1_1110, inside)?,
        }
    }
    Ok(())
}
