//! Cryptographic primitives, written out because there is nothing beneath std:
//! HKDF-SHA-256 to make keys of a pre-shared secret, ChaCha20-Poly1305 to seal
//! texts under them, base64 to carry both in lines, and a comparison for proofs.
//!
//! Each is a pure function of its input, checked against every vector of its
//! standard. None branches or indexes on a secret; lengths are not secret.
//!
//! What this is not:
//! - No forward secrecy. There is no key agreement: whoever steals a pre-shared
//!   key reads all recorded traffic of that key, past and future, until the key
//!   is replaced, and can speak in its owner's place.
//! - No guard of nonces: a (key, nonce) pair that seals two texts gives both away,
//!   and the means to forge more. That no pair repeats is the caller's duty.
//! - No protection of memory: safe code on std can neither wipe nor lock it, so
//!   secrets may linger in freed memory, swap and core dumps.
//! - No promise about the compiler or the processor: the source has no
//!   secret-dependent branches, and nothing below it is told to keep it so.
//!
//! Where these matter, let WireGuard or SSH carry the link.

mod aead;
mod base64;
mod chacha20;
mod hkdf;
mod hmac;
mod poly1305;
mod same;
mod sha256;
#[cfg(test)]
mod vectors;

pub use aead::{TEXT_LEN_MAX, open, seal};
pub use base64::{base64_decode, base64_encode};
pub use hkdf::{EXPAND_LEN_MAX, hkdf_expand, hkdf_extract};
pub use hmac::hmac_sha256;
pub use same::same;
pub use sha256::sha256;
