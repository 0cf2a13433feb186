//! The format put to the test.

mod damage;
mod filters;
mod make;
mod parts;
mod random;
mod roundtrip;
