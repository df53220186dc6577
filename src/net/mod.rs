//! TCP with deadlines: bounded lines, dialling over several addresses, names
//! resolved on threads of their own, accept loops, rests between tries, and what a
//! stranger who connects may cost. Every wait has an end.

pub mod back_off;
pub mod dial;
pub mod door;
pub mod line;
pub mod listen;
pub mod local;
pub mod pour;
pub mod resolve;
pub mod stream;
