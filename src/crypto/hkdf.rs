//! HKDF-SHA-256 (RFC 5869): keys from a secret, one for each purpose named.
//! Extract once, then expand under as many labels as there are keys to make.

use super::hmac::hmac_sha256;

const DIGEST_LEN: usize = 32;
/// The longest output of one expansion, in bytes: its blocks are counted in one byte.
pub const EXPAND_LEN_MAX: usize = 255 * DIGEST_LEN;

/// A uniform key from a `secret` that may not be one (section 2.2). `salt` need not
/// be secret; an empty one counts as 32 zeros.
pub fn hkdf_extract(salt: &[u8], secret: &[u8]) -> [u8; 32] {
    hmac_sha256(salt, secret)
}

/// Fills `out` with key material for the purpose that `info` names (section 2.3).
///
/// # Panics
/// When `out` is longer than [`EXPAND_LEN_MAX`].
pub fn hkdf_expand(prk: &[u8; 32], info: &[u8], out: &mut [u8]) {
    assert!(out.len() <= EXPAND_LEN_MAX, "expanded too far");
    let mut input = Vec::with_capacity(DIGEST_LEN + info.len() + 1);
    for (number, chunk) in (1..=u8::MAX).zip(out.chunks_mut(DIGEST_LEN)) {
        input.extend_from_slice(info);
        input.push(number);
        let block = hmac_sha256(prk, &input);
        chunk.copy_from_slice(&block[..chunk.len()]);
        input.clear();
        input.extend_from_slice(&block);
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;

    /// RFC 5869, appendix A.1 to A.3.
    #[test]
    fn vectors_of_rfc_5869_match() {
        let range = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        for (case, secret, salt, info, prk, okm) in [
            (
                "A.1",
                vec![0x0b; 22],
                range(0, 0x0c),
                range(0xf0, 0xf9),
                "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf
                 34007208d5b887185865",
            ),
            (
                "A.2",
                range(0, 0x4f),
                range(0x60, 0xaf),
                range(0xb0, 0xff),
                "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c
                 59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71
                 cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                "A.3",
                vec![0x0b; 22],
                vec![],
                vec![],
                "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d
                 9d201395faa4b61a96c8",
            ),
        ] {
            let key = hkdf_extract(&salt, &secret);
            assert_eq!(vectors::hex(&key), prk, "{case}: key");
            let expected = vectors::bytes(okm);
            let mut out = vec![0; expected.len()];
            hkdf_expand(&key, &info, &mut out);
            assert_eq!(out, expected, "{case}: output");
        }
    }

    /// The whole range, its SHA-256 as Python's `hmac` and RFC 5869's loop give it.
    #[test]
    fn the_longest_output_matches() {
        let mut out = vec![0; EXPAND_LEN_MAX];
        hkdf_expand(&[0x42; 32], b"tcpmon", &mut out);
        assert_eq!(
            vectors::hex(&super::super::sha256(&out)),
            "0cc44edc04c574cb967bdc9400b51908102ff08e7849595667d6417e1b4b9112"
        );
    }

    #[test]
    fn a_shorter_output_is_the_start_of_a_longer() {
        let mut long = [0; 100];
        hkdf_expand(&[1; 32], b"x", &mut long);
        for len in 0..long.len() {
            let mut short = vec![0; len];
            hkdf_expand(&[1; 32], b"x", &mut short);
            assert_eq!(short, long[..len], "{len}");
        }
    }

    #[test]
    #[should_panic(expected = "expanded too far")]
    fn more_than_the_counter_holds_is_refused() {
        hkdf_expand(&[0; 32], b"", &mut [0; EXPAND_LEN_MAX + 1]);
    }
}
