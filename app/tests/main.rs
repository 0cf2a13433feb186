//! The console as a person meets it: by what it says to those who cannot see it, and by its pictures.

mod board;
mod breakers;
mod frame;
mod lists;
mod pace;
mod policies;
mod roles;
mod rollouts;
mod traces;
