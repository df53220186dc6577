//! Base64 (RFC 4648, section 4), padded. Key files hold secrets in it, so letters
//! are reckoned, never looked up: no branch and no index depends on a byte, only on
//! the length (which the padding tells).
//!
//! There is one text for any bytes: what is not the one encoding is refused.

/// Appends the text of `bytes` to `out`.
pub fn base64_encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(bytes.len().div_ceil(3) * 4);
    let mut threes = bytes.chunks_exact(3);
    for three in &mut threes {
        out.extend_from_slice(&sextets(three[0], three[1], three[2]));
    }
    let padding: &[u8] = match *threes.remainder() {
        [a, b] => {
            out.extend_from_slice(&sextets(a, b, 0)[..3]);
            b"="
        }
        [a] => {
            out.extend_from_slice(&sextets(a, 0, 0)[..2]);
            b"=="
        }
        _ => b"",
    };
    for byte in &mut out[start..] {
        *byte = letter(*byte);
    }
    out.extend_from_slice(padding);
}

/// Appends the bytes of `text` to `out`. False, and `out` as it was, when `text` is
/// not what [`base64_encode`] makes: padding missing or amiss, bits set that no
/// byte has, white space or any other foreign character.
pub fn base64_decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.len() % 4 != 0 {
        return false;
    }
    let letters = match text {
        [letters @ .., b'=', b'='] | [letters @ .., b'='] => letters,
        letters => letters,
    };
    let start = out.len();
    out.extend_from_slice(letters);
    let mut seen = 0;
    for byte in &mut out[start..] {
        *byte = value(*byte);
        seen |= *byte;
    }
    let unused = match letters.len() % 4 {
        2 => 0b1111,
        3 => 0b11,
        _ => 0,
    };
    let left_over = out[start..].last().map_or(0, |last| last & unused);
    let canonical = (seen & FOREIGN) | left_over == 0;
    if canonical {
        out.resize(start + text.len(), 0);
        join(&mut out[start..]);
        out.truncate(start + letters.len() * 3 / 4);
    } else {
        out.truncate(start);
    }
    canonical
}

fn sextets(a: u8, b: u8, c: u8) -> [u8; 4] {
    [
        a >> 2,
        (a << 4 | b >> 4) & 0x3f,
        (b << 2 | c >> 6) & 0x3f,
        c & 0x3f,
    ]
}

/// Packs fours of sextets into threes of bytes, in place, from the front.
fn join(sextets: &mut [u8]) {
    for four in 0..sextets.len() / 4 {
        let (from, to) = (4 * four, 3 * four);
        let [a, b, c, d] = [0, 1, 2, 3].map(|k| sextets[from + k]);
        let bytes = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        sextets[to..to + 3].copy_from_slice(&bytes);
    }
}

/// The bit above a sextet: set in the value of what is no letter of the alphabet.
const FOREIGN: u8 = 0x40;

/// The letter of a sextet: `A` and up, corrected where the alphabet jumps.
fn letter(sextet: u8) -> u8 {
    // All ones when the sextet is beyond `last`, for their difference is negative.
    let beyond = |last: u8| (last.wrapping_sub(sextet) >> 7).wrapping_neg();
    let jump = |last: u8, from: u8, to: u8| beyond(last) & to.wrapping_sub(from + 1);
    sextet
        .wrapping_add(b'A')
        .wrapping_add(jump(25, b'Z', b'a'))
        .wrapping_add(jump(51, b'z', b'0'))
        .wrapping_add(jump(61, b'9', b'+'))
        .wrapping_add(jump(62, b'+', b'/'))
}

/// The sextet of a letter; [`FOREIGN`] for any other byte.
fn value(letter: u8) -> u8 {
    // Zero when the letter is not in this run of the alphabet, for then the high
    // byte of the difference is.
    let run = |first: u8, last: u8, sextet: u8| {
        let offset = letter.wrapping_sub(first);
        let inside = (u16::from(offset).wrapping_sub(u16::from(last - first) + 1) >> 8) as u8;
        inside & (offset.wrapping_add(sextet) | FOREIGN)
    };
    let found = run(b'A', b'Z', 0)
        | run(b'a', b'z', 26)
        | run(b'0', b'9', 52)
        | run(b'+', b'+', 62)
        | run(b'/', b'/', 63);
    found ^ FOREIGN
}

#[cfg(test)]
mod tests {
    use super::super::vectors::noise;
    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        base64_encode(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        base64_decode(text.as_bytes(), &mut out).then_some(out)
    }

    /// The alphabet as RFC 4648, table 1, prints it.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// The same by table, bit after bit.
    fn by_table(bytes: &[u8]) -> String {
        let bits: Vec<u8> = (0..bytes.len() * 8)
            .map(|bit| bytes[bit / 8] >> (7 - bit % 8) & 1)
            .collect();
        let sextet = |six: &[u8]| six.iter().fold(0, |n, bit| n << 1 | bit) << (6 - six.len());
        let mut text: String = bits
            .chunks(6)
            .map(|six| char::from(ALPHABET[usize::from(sextet(six))]))
            .collect();
        while text.len() % 4 != 0 {
            text.push('=');
        }
        text
    }

    /// RFC 4648, section 10.
    #[test]
    fn vectors_of_rfc_4648_match() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encoded(bytes.as_bytes()), text);
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
    }

    #[test]
    fn every_byte_is_a_letter_of_the_alphabet_or_foreign() {
        for byte in 0..=255 {
            let place = ALPHABET.iter().position(|&letter| letter == byte);
            assert_eq!(value(byte), place.map_or(FOREIGN, |at| at as u8), "{byte}");
        }
        for sextet in 0..64 {
            assert_eq!(letter(sextet), ALPHABET[usize::from(sextet)], "{sextet}");
        }
    }

    #[test]
    fn every_length_and_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in (0..=300).map(|len| noise(len, 7)).chain([all]) {
            let text = encoded(&bytes);
            assert_eq!(text, by_table(&bytes));
            assert_eq!(decoded(&text), Some(bytes), "{text}");
        }
        for (a, b) in (0..=255).flat_map(|a| [0, 1, 0x55, 0xfe, 0xff].map(|b| (a, b))) {
            for bytes in [vec![a], vec![b, a], vec![a, b], vec![b, a, b]] {
                assert_eq!(encoded(&bytes), by_table(&bytes));
                assert_eq!(decoded(&encoded(&bytes)), Some(bytes));
            }
        }
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        for text in [
            // Wrong lengths, padding left out.
            "Z",
            "Zg",
            "Zm8",
            "Zg=",
            "Zm9vY",
            "Zm9vYg",
            "Zm9vYmE",
            "Zm9vYg=",
            // Padding where none belongs, or too much of it.
            "=",
            "==",
            "===",
            "====",
            "Z===",
            "Zg==Zg==",
            "Zm8=Zm8=",
            "Z=g=",
            "=Zg=",
            "Zm=v",
            "Zm9v=",
            "Zm9v==",
            "Zm9v====",
            "Zg===",
            // Bits that no byte has.
            "Zh==",
            "Zo==",
            "Z/==",
            "Zm9=",
            "Zm+=",
            "Zm/=",
            "Zm9vYh==",
            "Zm9vYmF=",
            // White space, at every place.
            " Zg==",
            "Zg== ",
            "Zg==\n",
            "Zg\n==",
            "Z g=",
            "Zm9v\n",
            "Zm9\n",
            "\tm9v",
            "Zm9v\r\n\r\n",
            // The other alphabet, and what is in none.
            "Zm9-",
            "Zm9_",
            "-_-_",
            "Zm9,",
            "Zm9.",
            "Z@==",
            "Zm9[",
            "Zm9`",
            "Zm9{",
            "Zm9:",
            "Zm9\0",
            "Zm\u{e9}",
            "\u{1f980}",
        ] {
            let mut out = b"before".to_vec();
            assert!(!base64_decode(text.as_bytes(), &mut out), "{text:?}");
            assert_eq!(out, b"before", "{text:?}");
        }
    }

    /// Of all 256 x 256 endings, just those are taken that are written so.
    #[test]
    fn a_text_that_is_taken_is_the_one_that_is_written() {
        let mut taken = 0;
        for (a, b) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))) {
            let text = [b'Z', b'g', a, b];
            let mut out = Vec::new();
            if base64_decode(&text, &mut out) {
                assert_eq!(encoded(&out).as_bytes(), text);
                taken += 1;
            }
        }
        assert_eq!(taken, 64 * 64 + 16 + 1);
    }

    #[test]
    fn both_append() {
        let mut out = b"> ".to_vec();
        base64_encode(b"foobar", &mut out);
        assert_eq!(out, b"> Zm9vYmFy");
        let mut out = b"> ".to_vec();
        assert!(base64_decode(b"Zm9vYg==", &mut out));
        assert_eq!(out, b"> foob");
    }
}
