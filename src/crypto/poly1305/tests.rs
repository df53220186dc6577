//! RFC 8439's vectors for Poly1305: section 2.5.2 and appendix A.3, and sums beside
//! arithmetic on plain bits.

use super::super::vectors::{self, BRILLIG, KEY, SUBMISSION, hex, noise};
use super::*;

const ZEROS: &str = "00000000000000000000000000000000";
const ONES: &str = "ffffffffffffffffffffffffffffffff";

/// The plain authenticator: a last block that is shorter has its one bit right above
/// it. ChaCha20-Poly1305 never has such, for it pads.
fn poly1305(key: &[u8; 32], text: &[u8]) -> [u8; 16] {
    let mut sum = Poly1305::new(key);
    let whole = text.len() / BLOCK_LEN * BLOCK_LEN;
    sum.padded(&text[..whole]);
    if whole < text.len() {
        let mut block = [0; BLOCK_LEN];
        block[..text.len() - whole].copy_from_slice(&text[whole..]);
        block[text.len() - whole] = 1;
        sum.block(words(&block), 0);
    }
    sum.tag()
}

#[test]
fn section_2_5_2() {
    let key = vectors::array("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b");
    let tag = poly1305(&key, b"Cryptographic Forum Research Group");
    assert_eq!(hex(&tag), "a8061dc1305136c6c22b8baf0c0127a9");
}

/// Appendix A.3 #1 to #4: whole texts.
#[test]
fn appendix_a_3_texts() {
    let digits = "36e5f6b5c5e06070f0efca96227a863e";
    for (case, key, text, expected) in [
        ("#1", [ZEROS, ZEROS].concat(), &[0; 64][..], ZEROS),
        ("#2", [ZEROS, digits].concat(), SUBMISSION, digits),
        (
            "#3",
            [digits, ZEROS].concat(),
            SUBMISSION,
            "f3477e7cd95417af89a6b8794c310cf0",
        ),
        (
            "#4",
            KEY.to_string(),
            BRILLIG,
            "4541669a7eaaee61e708dc7cbcc5eb62",
        ),
    ] {
        assert_eq!(
            hex(&poly1305(&vectors::array(&key), text)),
            expected,
            "{case}"
        );
    }
}

/// Appendix A.3 #5 to #11: where carries and the last reduction go wrong.
#[test]
fn appendix_a_3_edges() {
    let (one, two) = (
        "01000000000000000000000000000000",
        "02000000000000000000000000000000",
    );
    let four = "01000000000000000400000000000000";
    for (case, point, mask, text, expected) in [
        ("#5", two, ZEROS, ONES, "03000000000000000000000000000000"),
        ("#6", two, ONES, two, "03000000000000000000000000000000"),
        (
            "#7",
            one,
            ZEROS,
            "ffffffffffffffffffffffffffffffff
             f0ffffffffffffffffffffffffffffff
             11000000000000000000000000000000",
            "05000000000000000000000000000000",
        ),
        (
            "#8",
            one,
            ZEROS,
            "ffffffffffffffffffffffffffffffff
             fbfefefefefefefefefefefefefefefe
             01010101010101010101010101010101",
            ZEROS,
        ),
        (
            "#9",
            two,
            ZEROS,
            "fdffffffffffffffffffffffffffffff",
            "faffffffffffffffffffffffffffffff",
        ),
        (
            "#10",
            four,
            ZEROS,
            "e33594d7505e43b90000000000000000
             3394d7505e4379cd0100000000000000
             00000000000000000000000000000000
             01000000000000000000000000000000",
            "14000000000000005500000000000000",
        ),
        (
            "#11",
            four,
            ZEROS,
            "e33594d7505e43b90000000000000000
             3394d7505e4379cd0100000000000000
             00000000000000000000000000000000",
            "13000000000000000000000000000000",
        ),
    ] {
        let key = vectors::array(&[point, mask].concat());
        let tag = poly1305(&key, &vectors::bytes(text));
        assert_eq!(hex(&tag), expected, "{case}");
    }
}

/// A number of 136 bits and more room, lowest byte first.
type Bits = [u8; 18];

/// `a + b` modulo 2^130 - 5, by subtracting the prime while it fits. Both are below it.
fn add(a: Bits, b: Bits) -> Bits {
    let mut sum = [0; 18];
    let mut carry = 0;
    for (at, byte) in sum.iter_mut().enumerate() {
        carry += u16::from(a[at]) + u16::from(b[at]);
        *byte = carry as u8;
        carry >>= 8;
    }
    less_prime(sum).unwrap_or(sum)
}

fn less_prime(number: Bits) -> Option<Bits> {
    let mut prime: Bits = [0xff; 18];
    (prime[0], prime[16], prime[17]) = (0xfb, 3, 0);
    let mut less = [0; 18];
    let mut borrow = 0;
    for (at, byte) in less.iter_mut().enumerate() {
        let difference = i16::from(number[at]) - i16::from(prime[at]) - borrow;
        *byte = difference as u8;
        borrow = i16::from(difference < 0);
    }
    (borrow == 0).then_some(less)
}

/// Poly1305 as section 2.5.1 writes it, a bit at a time.
fn by_bits(key: &[u8; 32], text: &[u8]) -> [u8; 16] {
    let mut point = [0; 18];
    point[..16].copy_from_slice(&key[..16]);
    for at in [3, 7, 11, 15] {
        point[at] &= 15;
    }
    for at in [4, 8, 12] {
        point[at] &= 252;
    }
    let mut sum = [0; 18];
    for chunk in text.chunks(16) {
        let mut block = [0; 18];
        block[..chunk.len()].copy_from_slice(chunk);
        block[chunk.len()] = 1;
        let factor = add(sum, block);
        sum = [0; 18];
        for bit in (0..130).rev() {
            sum = add(sum, sum);
            if factor[bit / 8] >> (bit % 8) & 1 == 1 {
                sum = add(sum, point);
            }
        }
    }
    let mut tag = [0; 16];
    let mut carry = 0;
    for (at, byte) in tag.iter_mut().enumerate() {
        carry += u16::from(sum[at]) + u16::from(key[16 + at]);
        *byte = carry as u8;
        carry >>= 8;
    }
    tag
}

/// Noise, and texts and points of ones, which carry the furthest.
#[test]
fn limbs_reckon_as_bits_do() {
    for len in 0..=100 {
        let key: [u8; 32] = noise(32, len as u32).try_into().unwrap();
        let text = noise(len, 1000 + len as u32);
        assert_eq!(poly1305(&key, &text), by_bits(&key, &text), "{len}");
        let ones = vec![0xff; len];
        assert_eq!(poly1305(&key, &ones), by_bits(&key, &ones), "{len}: text");
        let key = [0xff; 32];
        assert_eq!(poly1305(&key, &ones), by_bits(&key, &ones), "{len}: both");
        assert_eq!(poly1305(&key, &text), by_bits(&key, &text), "{len}: key");
    }
}

/// Sums that the last block brings to just around the prime and 2^130.
#[test]
fn the_last_reduction_is_whole_around_the_prime() {
    let mut key = [0; 32];
    key[0] = 1;
    for first in 0..=255 {
        let mut text = [0xff; 48];
        // Two whole blocks of ones and a third make 3 * 2^128 and more: 2^130 is near.
        text[16] = first;
        text[32..].fill(0);
        text[32] = 2;
        for lowest in 0..8 {
            text[0] = 0xff - lowest;
            assert_eq!(
                poly1305(&key, &text),
                by_bits(&key, &text),
                "{first} {lowest}"
            );
        }
    }
}

/// All limbs near their ends, straight into the reduction.
#[test]
fn every_number_is_reduced_below_the_prime() {
    let top = LIMB;
    for (number, expected) in [
        ([top - 5, top, top, top, top], [top - 5, top, top, top, top]),
        ([top - 4, top, top, top, top], [0; 5]),
        ([top - 3, top, top, top, top], [1, 0, 0, 0, 0]),
        ([top, top, top, top, top], [4, 0, 0, 0, 0]),
        ([top, top + 1, top, top, top], [4, 1, 0, 0, 0]),
        ([top - 4, top + 1, top, top, top], [0, 1, 0, 0, 0]),
        ([0, top + 1, top, top, top], [5, 0, 0, 0, 0]),
        ([0, top + 1 + 1024, top, top, top], [5, 1024, 0, 0, 0]),
        ([top, 0, 0, 0, top], [top, 0, 0, 0, top]),
    ] {
        assert_eq!(reduce(number), expected, "{number:x?}");
    }
}

#[test]
fn padding_is_zeros_to_a_whole_block() {
    let key = noise(32, 5).try_into().unwrap();
    for len in 0..=64_usize {
        let text = noise(len, 6);
        let mut filled = text.clone();
        filled.resize(len.next_multiple_of(BLOCK_LEN), 0);
        let mut sum = Poly1305::new(&key);
        sum.padded(&text);
        assert_eq!(sum.tag(), poly1305(&key, &filled), "{len}");
    }
}
