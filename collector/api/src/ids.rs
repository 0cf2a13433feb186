//! Trace and span ids of W3C trace context; written as lower-case hex everywhere.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: expected {digits} hexadecimal digits that are not all zero")]
pub struct BadId {
    what: &'static str,
    digits: usize,
    text: String,
}

macro_rules! id {
    ($name:ident, $bytes:literal, $what:literal) => {
        #[doc = concat!("A ", $what, ": ", stringify!($bytes), " bytes, never all zero when read from text.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The id in `bytes`; `None` when the length is wrong or all bytes are zero.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                <[u8; $bytes]>::try_from(bytes).ok().filter(|b| b.iter().any(|x| *x != 0)).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = || BadId { what: $what, digits: $bytes * 2, text: text.chars().take(80).collect() };
                if text.len() != $bytes * 2 || !text.is_ascii() {
                    return Err(bad());
                }
                let mut id = [0; $bytes];
                for (i, byte) in id.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
                }
                Self::from_slice(&id).ok_or_else(bad)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(TraceId, 16, "trace id");
id!(SpanId, 8, "span id");
