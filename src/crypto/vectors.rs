//! What the tests of several primitives share: hexadecimal the way the standards
//! print it, and the texts that RFC 8439 uses more than once.

/// Sections 2.4.2 and 2.8.2.
pub const SUNSCREEN: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer \
    you only one tip for the future, sunscreen would be it.";

/// Appendix A.2 #2, A.3 #2 and #3.
pub const SUBMISSION: &[u8] = b"Any submission to the IETF intended by the Contributor for \
    publication as all or part of an IETF Internet-Draft or RFC and any statement made within \
    the context of an IETF activity is considered an \"IETF Contribution\". Such statements \
    include oral statements in IETF sessions, as well as written and electronic communications \
    made at any time or place, which are addressed to";

/// Appendix A.2 #3 and A.3 #4.
pub const BRILLIG: &[u8] = b"'Twas brillig, and the slithy toves\nDid gyre and gimble in the \
    wabe:\nAll mimsy were the borogoves,\nAnd the mome raths outgrabe.";

/// The key that appendices A.2 to A.5 use when it is not zeros.
pub const KEY: &str = "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0";

/// The bytes that `digits` name, two digits each; white space is skipped.
pub fn bytes(digits: &str) -> Vec<u8> {
    let nibbles: Vec<u8> = digits
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("a hexadecimal digit") as u8)
        .collect();
    assert!(nibbles.len() % 2 == 0, "half a byte in {digits}");
    nibbles.chunks_exact(2).map(|n| n[0] << 4 | n[1]).collect()
}

/// The same, exactly `N` bytes.
pub fn array<const N: usize>(digits: &str) -> [u8; N] {
    bytes(digits).try_into().expect("the right length")
}

/// `bytes` in lower-case digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `len` bytes in which no short pattern repeats, different for each `seed`.
pub fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}
