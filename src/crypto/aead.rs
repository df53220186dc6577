//! ChaCha20-Poly1305 (RFC 8439, section 2.8): texts that only holders of the key
//! can read, and that no one else can make or change. In place, without allocation.
//! A (key, nonce) pair seals one text, ever: the caller sees to that.

use super::chacha20::{BLOCK_LEN, ChaCha20};
use super::poly1305::Poly1305;
use super::same::same;

/// The longest text, in bytes: the key stream's 2^32 blocks but for the first.
pub const TEXT_LEN_MAX: u64 = u32::MAX as u64 * BLOCK_LEN as u64;

/// Encrypts `text` in place, and gives the tag that vouches for it and for `aad`,
/// which stays readable.
///
/// # Panics
/// When `text` is longer than [`TEXT_LEN_MAX`], where the key stream would repeat.
pub fn seal(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
    assert!(text.len() as u64 <= TEXT_LEN_MAX, "a text too long to seal");
    let mut stream = ChaCha20::new(key, nonce, 0);
    let tag_key = one_time_key(&mut stream);
    stream.apply(text);
    tag(&tag_key, aad, text)
}

/// Whether `tag` vouches for `text` and `aad` under this key and nonce. Only then is
/// `text` decrypted in place; else it stays as it is.
pub fn open(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; 16]) -> bool {
    let mut stream = ChaCha20::new(key, nonce, 0);
    let tag_key = one_time_key(&mut stream);
    let genuine = text.len() as u64 <= TEXT_LEN_MAX && same(&self::tag(&tag_key, aad, text), tag);
    if genuine {
        stream.apply(text);
    }
    genuine
}

/// Poly1305's key for this nonce: half of block 0, the rest of which is not used
/// (section 2.6).
fn one_time_key(stream: &mut ChaCha20) -> [u8; 32] {
    let block = stream.block();
    let mut key = [0; 32];
    key.copy_from_slice(&block[..32]);
    key
}

/// The tag of `aad` and an encrypted `text`, each padded, and of their lengths, so
/// that nothing can move from one to the other.
fn tag(key: &[u8; 32], aad: &[u8], text: &[u8]) -> [u8; 16] {
    let mut lengths = [0; 16];
    lengths[..8].copy_from_slice(&(aad.len() as u64).to_le_bytes());
    lengths[8..].copy_from_slice(&(text.len() as u64).to_le_bytes());
    let mut sum = Poly1305::new(key);
    sum.padded(aad);
    sum.padded(text);
    sum.padded(&lengths);
    sum.tag()
}

#[cfg(test)]
mod tests;
