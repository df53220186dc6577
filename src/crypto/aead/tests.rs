//! RFC 8439's vectors for the sealing of texts: sections 2.6.2 and 2.8.2, appendices
//! A.4 and A.5; what is sealed comes back, and what is changed does not.

use super::super::vectors::{self, KEY, SUNSCREEN, hex, noise};
use super::*;

/// Section 2.6.2, then appendix A.4 #1 to #3.
#[test]
fn one_time_keys() {
    for (case, key, nonce, expected) in [
        (
            "2.6.2",
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "000000000001020304050607",
            "8ad5a08b905f81cc815040274ab29471a833b637e3fd0da508dbb8e2fdd1a646",
        ),
        (
            "A.4 #1",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "000000000000000000000000",
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7",
        ),
        (
            "A.4 #2",
            "0000000000000000000000000000000000000000000000000000000000000001",
            "000000000000000000000002",
            "ecfa254f845f647473d3cb140da9e87606cb33066c447b87bc2666dde3fbb739",
        ),
        (
            "A.4 #3",
            KEY,
            "000000000000000000000002",
            "965e3bc6f9ec7ed9560808f4d229f94b137ff275ca9b3fcbdd59deaad23310ae",
        ),
    ] {
        let mut stream = ChaCha20::new(&vectors::array(key), &vectors::array(nonce), 0);
        assert_eq!(hex(&one_time_key(&mut stream)), expected, "{case}");
    }
}

#[test]
fn section_2_8_2() {
    let key = vectors::array("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let nonce = vectors::array("070000004041424344454647");
    let aad = vectors::bytes("50515253c0c1c2c3c4c5c6c7");
    let sealed = vectors::bytes(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
         3ff4def08e4b7a9de576d26586cec64b6116",
    );
    let mut text = SUNSCREEN.to_vec();
    let tag = seal(&key, &nonce, &aad, &mut text);
    assert_eq!(hex(&text), hex(&sealed));
    assert_eq!(hex(&tag), "1ae10b594f09e26a7e902ecbd0600691");
    assert!(open(&key, &nonce, &aad, &mut text, &tag));
    assert_eq!(text, SUNSCREEN);
}

#[test]
fn appendix_a_5() {
    let key = vectors::array(KEY);
    let nonce = vectors::array("000000000102030405060708");
    let aad = vectors::bytes("f33388860000000000004e91");
    let tag = vectors::array("eead9d67890cbb22392336fea1851f38");
    let sealed = vectors::bytes(
        "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2
         4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf
         332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855
         9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4
         b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e
         af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a
         0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10
         49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29
         a6ad5cb4022b02709b",
    );
    let expected = "Internet-Drafts are draft documents valid for a maximum of six months and \
        may be updated, replaced, or obsoleted by other documents at any time. It is \
        inappropriate to use Internet-Drafts as reference material or to cite them other than \
        as /\u{201c}work in progress./\u{201d}";
    let mut text = sealed.clone();
    assert!(open(&key, &nonce, &aad, &mut text, &tag));
    assert_eq!(String::from_utf8_lossy(&text), expected);
    assert_eq!(seal(&key, &nonce, &aad, &mut text), tag);
    assert_eq!(hex(&text), hex(&sealed));
}

/// Every length through several blocks of either primitive, tags and texts digested
/// together: the digest from Python's `cryptography`.
#[test]
fn every_length_matches_another_implementation() {
    let counting = |len: usize| (0..len).map(|i| (i % 251) as u8).collect::<Vec<u8>>();
    let key: [u8; 32] = counting(32).try_into().unwrap();
    let mut all = Vec::new();
    for len in 0..=300 {
        for aad_len in [0, 1, 15, 16, 17, 40] {
            let mut nonce = [0; 12];
            nonce[..4].copy_from_slice(&(len as u32).to_le_bytes());
            nonce[4] = aad_len as u8;
            let mut text = counting(len);
            let tag = seal(&key, &nonce, &counting(aad_len), &mut text);
            all.extend_from_slice(&text);
            all.extend_from_slice(&tag);
        }
    }
    assert_eq!(
        hex(&super::super::sha256(&all)),
        "73ce330834d382db3e6275aa92294dbbf594f072d7cc7b0099accc06eda56da9"
    );
}

#[test]
fn what_is_sealed_comes_back() {
    let key = noise(32, 1).try_into().unwrap();
    for len in 0..=300 {
        for aad_len in [0, 1, 12, 16, 33] {
            let nonce = noise(12, len as u32).try_into().unwrap();
            let (plain, aad) = (noise(len, 2), noise(aad_len, 3));
            let mut text = plain.clone();
            let tag = seal(&key, &nonce, &aad, &mut text);
            assert!(len < 8 || text != plain, "{len}: not encrypted");
            assert!(open(&key, &nonce, &aad, &mut text, &tag), "{len} {aad_len}");
            assert_eq!(text, plain, "{len} {aad_len}");
        }
    }
}

/// What goes into `open`, in one row, so that a test can change any bit of it.
struct Sealed {
    row: Vec<u8>,
    aad_len: usize,
}

impl Sealed {
    fn new(len: usize, aad_len: usize) -> Sealed {
        let mut row = noise(32 + 12 + 16 + aad_len + len, len as u32 + 9);
        let key = row[..32].try_into().unwrap();
        let nonce = row[32..44].try_into().unwrap();
        let (head, text) = row.split_at_mut(60 + aad_len);
        let tag = seal(&key, &nonce, &head[60..], text);
        row[44..60].copy_from_slice(&tag);
        Sealed { row, aad_len }
    }

    /// Whether it opens; when it does not, its text must be as it was.
    fn opens(&self) -> bool {
        let row = &self.row;
        let key = row[..32].try_into().unwrap();
        let nonce = row[32..44].try_into().unwrap();
        let tag = row[44..60].try_into().unwrap();
        let (aad, sealed) = row[60..].split_at(self.aad_len);
        let mut text = sealed.to_vec();
        let opened = open(&key, &nonce, aad, &mut text, &tag);
        assert!(opened || text == sealed, "a refused text was touched");
        opened
    }
}

#[test]
fn any_changed_bit_of_anything_is_refused() {
    for (len, aad_len) in [(0, 0), (0, 5), (1, 0), (16, 16), (65, 12), (130, 3)] {
        let mut sealed = Sealed::new(len, aad_len);
        assert!(sealed.opens(), "{len} {aad_len}");
        for bit in 0..sealed.row.len() * 8 {
            sealed.row[bit / 8] ^= 1 << (bit % 8);
            assert!(!sealed.opens(), "{len} {aad_len}: bit {bit}");
            sealed.row[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Padding hides where one part ends and the next begins; the lengths tell.
#[test]
fn bytes_cannot_move_or_be_cut() {
    let mut sealed = Sealed::new(40, 8);
    for aad_len in (0..=48).filter(|&len| len != 8) {
        sealed.aad_len = aad_len;
        assert!(!sealed.opens(), "{aad_len}");
    }
    sealed.aad_len = 8;
    while sealed.row.len() > 68 {
        sealed.row.pop();
        assert!(!sealed.opens(), "{}", sealed.row.len());
    }
    let mut sealed = Sealed::new(40, 8);
    for _ in 0..40 {
        sealed.row.push(0);
        assert!(!sealed.opens(), "{}", sealed.row.len());
    }
}
