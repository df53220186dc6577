//! HMAC-SHA-256 (RFC 2104): a keyed digest that only holders of the key can make.

use super::sha256::{BLOCK_LEN, sha256, sha256_after};

/// The message authentication code of `message` under `key`, of any length.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let key = block_of(key);
    let inner = sha256_after(&key.map(|byte| byte ^ 0x36), message);
    sha256_after(&key.map(|byte| byte ^ 0x5c), &inner)
}

/// The key filled up with zeros to a block; a longer one's digest stands for it.
fn block_of(key: &[u8]) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    if key.len() > BLOCK_LEN {
        block[..32].copy_from_slice(&sha256(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::super::vectors::hex;
    use super::*;

    /// RFC 4231, sections 4.2 to 4.8. Case 5 is given as its first 128 bits only.
    #[test]
    fn vectors_of_rfc_4231_match() {
        let counting: Vec<u8> = (1..=25).collect();
        let cases: [(&[u8], &[u8], &str); 7] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &counting,
                &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
            (
                &[0x0c; 20],
                b"Test With Truncation",
                "a3b6167473100ee06e0c796c2955552b",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &[0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than \
                  block-size data. The key needs to be hashed before being used by the \
                  HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (number, (key, message, expected)) in (1..).zip(cases) {
            let code = hex(&hmac_sha256(key, message));
            assert_eq!(&code[..expected.len()], expected, "case {number}");
        }
    }

    /// A key of exactly one block is used as it is; one byte more and it is hashed.
    /// Codes from Python's `hmac`.
    #[test]
    fn keys_around_the_block_size_match() {
        for (key_len, expected) in [
            (
                0,
                "b6a56640b85d14b7182fd7b296984f55a7baf376f7cce59fd14c24b2be185912",
            ),
            (
                63,
                "08485932958c96d91c8b1c52746d0d0fa501eba6e8d6510afbeb587c96d4c48a",
            ),
            (
                64,
                "5217f045db188840703d45e219e2eb76833886aa780d620074308b0063dcdb14",
            ),
            (
                65,
                "4f044bff1e6e397447bbd7775e963a58b01caa91e726081957ca9220ad1d1aa3",
            ),
        ] {
            let code = hmac_sha256(&vec![0x5a; key_len], b"tcpmon");
            assert_eq!(hex(&code), expected, "{key_len}");
        }
    }
}
