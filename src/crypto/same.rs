//! Comparison of secrets: how long it takes tells their lengths, never how much
//! of them agrees.

use std::hint::black_box;

/// Whether `a` and `b` are equal, in a time that depends on their lengths alone.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let differing = a.iter().zip(b).fold(0, |bits, (x, y)| bits | (x ^ y));
    // Hidden from the optimiser, which might stop at the first difference if it
    // saw that only "zero or not" is asked.
    black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_single_bit_and_the_length_count() {
        for len in [0, 1, 16, 31, 32] {
            let a: Vec<u8> = (0..len).map(|i| i ^ 0xa5).collect();
            assert!(same(&a, &a.clone()), "{len}");
            assert!(!same(&a, &[&a[..], &[0]].concat()), "{len}");
            for bit in 0..a.len() * 8 {
                let mut b = a.clone();
                b[bit / 8] ^= 1 << (bit % 8);
                assert!(!same(&a, &b), "{len}: bit {bit}");
            }
        }
    }

    /// Differences must not cancel each other.
    #[test]
    fn two_equal_differences_are_seen() {
        assert!(!same(&[0, 0], &[0x80, 0x80]));
        assert!(!same(&[1, 2], &[2, 1]));
    }
}
