//! CRC-32 as in zlib, Ethernet and PNG (RFC 1952, section 8): polynomial
//! 0x04C11DB7, reflected, all ones before and after. Finds damage, stops no forger.
//!
//! Eight bytes a step ("slicing by 8"), over tables that are made at compile time.

/// 0x04C11DB7 with its bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// `TABLES[k][b]`: the CRC's change for byte `b` with `k` zero bytes behind it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL * (crc & 1));
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut slot = 256;
    while slot < 8 * 256 {
        let before = tables[slot / 256 - 1][slot % 256];
        tables[slot / 256][slot % 256] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
        slot += 1;
    }
    tables
}

/// The CRC-32 of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    let mut eights = bytes.chunks_exact(8);
    for eight in &mut eights {
        crc = step_eight(crc, eight);
    }
    for &byte in eights.remainder() {
        crc = (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

fn step_eight(crc: u32, eight: &[u8]) -> u32 {
    let [c0, c1, c2, c3] = crc.to_le_bytes();
    TABLES[7][usize::from(eight[0] ^ c0)]
        ^ TABLES[6][usize::from(eight[1] ^ c1)]
        ^ TABLES[5][usize::from(eight[2] ^ c2)]
        ^ TABLES[4][usize::from(eight[3] ^ c3)]
        ^ TABLES[3][usize::from(eight[4])]
        ^ TABLES[2][usize::from(eight[5])]
        ^ TABLES[1][usize::from(eight[6])]
        ^ TABLES[0][usize::from(eight[7])]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, bit by bit.
    fn reference(bytes: &[u8]) -> u32 {
        let mut crc = !0;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    (crc >> 1) ^ POLYNOMIAL
                } else {
                    crc >> 1
                };
            }
        }
        !crc
    }

    #[test]
    fn known_values_match() {
        for (text, expected) in [
            ("", 0),
            ("a", 0xe8b7_be43),
            ("123456789", 0xcbf4_3926),
            ("The quick brown fox jumps over the lazy dog", 0x414f_a339),
        ] {
            assert_eq!(crc32(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(crc32(&[0; 32]), 0x190a_55ad);
        assert_eq!(crc32(&[0xff; 32]), 0xff6c_ab0b);
    }

    #[test]
    fn eight_at_a_time_equals_bit_by_bit_at_every_length_and_start() {
        let bytes: Vec<u8> = (0..100u32).map(|n| (n * n * 37 + 11) as u8).collect();
        for start in 0..9 {
            for end in start..bytes.len() {
                let part = &bytes[start..end];
                assert_eq!(crc32(part), reference(part), "{start}..{end}");
            }
        }
    }
}
