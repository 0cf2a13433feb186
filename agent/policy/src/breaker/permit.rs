//! The right to make one call.

use super::types::StateName;
use super::watch::Spot;

/// The right to make one call. Give it back with [`Breaker::finish`](super::Breaker::finish), whatever happens.
// Whole words only: put together in registers and read back at once, parts of words would have to wait for each other.
#[derive(Debug)]
#[must_use = "a permit that is not finished holds a probe's place until its lease runs out"]
pub struct Permit {
    /// The phase it belongs to; 0 belongs to none, so its result reaches nothing.
    pub(super) generation: u64,
    pub(super) started: u64,
    /// Of a probe: which one. Of a call watched in flight: its serial in its place.
    serial: u64,
    /// From the lowest bit: state (3), probe, would be refused, seat (8 from the 8th), place (16 from the 16th; 0 is none).
    marks: u64,
}

const PROBE: u64 = 1 << 3;
const WOULD_REFUSE: u64 = 1 << 4;
const SEAT: u32 = 8;
const PLACE: u32 = 16;

impl Permit {
    #[inline(always)]
    pub(super) fn new(generation: u64, started: u64, state: StateName) -> Self {
        Self { generation, started, serial: 0, marks: state.bits() }
    }

    /// As the probe of that serial.
    pub(super) fn probe(self, serial: u64) -> Self {
        Self { serial, marks: self.marks | PROBE, ..self }
    }

    /// As one of shadow mode.
    pub(super) fn refused(self) -> Self {
        Self { marks: self.marks | WOULD_REFUSE, ..self }
    }

    /// Watched in flight, if a spot was found at that seat.
    #[inline]
    pub(super) fn watched(self, seat: usize, spot: Option<Spot>) -> Self {
        match spot {
            None => self,
            Some(Spot { place, serial }) => {
                let marks = self.marks | (seat as u64 & 0xff) << SEAT | u64::from(place) << PLACE;
                Self { serial, marks, ..self }
            }
        }
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// The seat and the spot there where it is watched in flight.
    #[inline(always)]
    pub(super) fn spot(&self) -> Option<(usize, Spot)> {
        let place = (self.marks >> PLACE) as u16;
        (place != 0).then_some(((self.marks >> SEAT & 0xff) as usize, Spot { place, serial: self.serial }))
    }

    /// Whether the call is a probe of a half-open breaker.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.marks & PROBE != 0
    }

    /// The breaker's state in words when it was admitted (see [`Breaker::state_name`](super::Breaker::state_name)).
    #[must_use]
    pub fn state(&self) -> &'static str {
        StateName::from_bits(self.marks).text()
    }

    /// Whether the call would be refused, were the breaker not in shadow mode.
    #[must_use]
    pub fn would_refuse(&self) -> bool {
        self.marks & WOULD_REFUSE != 0
    }
}
