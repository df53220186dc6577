//! Cryptographic primitives, written out because there is nothing beneath std.
//! Each is a pure function of its input, checked against its standard's vectors.

mod sha256;

pub use sha256::sha256;
