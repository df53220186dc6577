//! RFC 8439's vectors for ChaCha20: sections 2.1.1 to 2.4.2, appendices A.1 and A.2.

use super::super::vectors::{self, BRILLIG, KEY, SUBMISSION, SUNSCREEN, hex};
use super::*;

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const LAST_BIT: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const COUNTING: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn stream(key: &str, nonce: &str, counter: u32) -> ChaCha20 {
    ChaCha20::new(&vectors::array(key), &vectors::array(nonce), counter)
}

#[test]
fn section_2_1_1_the_quarter_round() {
    let mut state = [0; 16];
    state[..4].copy_from_slice(&[0x11111111, 0x01020304, 0x9b8d6f43, 0x01234567]);
    quarter_round(&mut state, 0, 1, 2, 3);
    assert_eq!(state[..4], [0xea2a92f4, 0xcb1cf8ce, 0x4581472e, 0x5881c4bb]);
    assert_eq!(state[4..], [0; 12]);
}

#[test]
fn section_2_2_1_the_quarter_round_on_a_state() {
    let mut state = [
        0x879531e0, 0xc5ecf37d, 0x516461b1, 0xc9a62f8a, //
        0x44c20ef3, 0x3390af7f, 0xd9fc690b, 0x2a5f714c, //
        0x53372767, 0xb00a5631, 0x974c541a, 0x359e9963, //
        0x5c971061, 0x3d631689, 0x2098d9d6, 0x91dbd320,
    ];
    quarter_round(&mut state, 2, 7, 8, 13);
    let expected = [
        0x879531e0, 0xc5ecf37d, 0xbdb886dc, 0xc9a62f8a, //
        0x44c20ef3, 0x3390af7f, 0xd9fc690b, 0xcfacafd2, //
        0xe46bea80, 0xb00a5631, 0x974c541a, 0x359e9963, //
        0x5c971061, 0xccc07c79, 0x2098d9d6, 0x91dbd320,
    ];
    assert_eq!(state, expected);
}

#[test]
fn section_2_3_2_the_state_before_and_after_the_rounds() {
    let stream = stream(COUNTING, "000000090000004a00000000", 1);
    let before = [
        0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, //
        0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c, //
        0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c, //
        0x00000001, 0x09000000, 0x4a000000, 0x00000000,
    ];
    let after = [
        0x837778ab, 0xe238d763, 0xa67ae21e, 0x5950bb2f, //
        0xc4f2d0c7, 0xfc62bb2f, 0x8fa018fc, 0x3f5ec7b7, //
        0x335271c2, 0xf29489f3, 0xeabda8fc, 0x82e46ebd, //
        0xd19c12b4, 0xb04e16de, 0x9e83d0cb, 0x4e3c50a2,
    ];
    assert_eq!(stream.next, before);
    assert_eq!(permute(stream.next), after);
}

/// Section 2.3.2, then appendix A.1 #1 to #5.
#[test]
fn the_block_function() {
    let none = "000000000000000000000000";
    for (case, key, nonce, counter, expected) in [
        (
            "2.3.2",
            COUNTING,
            "000000090000004a00000000",
            1,
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e
             d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
        ),
        (
            "A.1 #1",
            ZEROS,
            none,
            0,
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
        ),
        (
            "A.1 #2",
            ZEROS,
            none,
            1,
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed
             29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
        ),
        (
            "A.1 #3",
            LAST_BIT,
            none,
            1,
            "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a
             8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
        ),
        (
            "A.1 #4",
            "00ff000000000000000000000000000000000000000000000000000000000000",
            none,
            2,
            "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca
             13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
        ),
        (
            "A.1 #5",
            ZEROS,
            "000000000000000000000002",
            0,
            "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7
             8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d",
        ),
    ] {
        let block = stream(key, nonce, counter).block();
        assert_eq!(hex(&block), hex(&vectors::bytes(expected)), "{case}");
    }
}

/// Section 2.4.2, then appendix A.2 #1 to #3.
#[test]
fn encryption() {
    for (case, key, nonce, counter, text, expected) in [
        (
            "2.4.2",
            COUNTING,
            "000000000000004a00000000",
            1,
            SUNSCREEN,
            "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b
             f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8
             07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736
             5af90bbf74a35be6b40b8eedf2785e42874d",
        ),
        (
            "A.2 #1",
            ZEROS,
            "000000000000000000000000",
            0,
            &[0; 64],
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
        ),
        (
            "A.2 #2",
            LAST_BIT,
            "000000000000000000000002",
            1,
            SUBMISSION,
            "a3fbf07df3fa2fde4f376ca23e82737041605d9f4f4f57bd8cff2c1d4b7955ec
             2a97948bd3722915c8f3d337f7d370050e9e96d647b7c39f56e031ca5eb6250d
             4042e02785ececfa4b4bb5e8ead0440e20b6e8db09d881a7c6132f420e527950
             42bdfa7773d8a9051447b3291ce1411c680465552aa6c405b7764d5e87bea85a
             d00f8449ed8f72d0d662ab052691ca66424bc86d2df80ea41f43abf937d3259d
             c4b2d0dfb48a6c9139ddd7f76966e928e635553ba76c5c879d7b35d49eb2e62b
             0871cdac638939e25e8a1e0ef9d5280fa8ca328b351c3c765989cbcf3daa8b6c
             cc3aaf9f3979c92b3720fc88dc95ed84a1be059c6499b9fda236e7e818b04b0b
             c39c1e876b193bfe5569753f88128cc08aaa9b63d1a16f80ef2554d7189c411f
             5869ca52c5b83fa36ff216b9c1d30062bebcfd2dc5bce0911934fda79a86f6e6
             98ced759c3ff9b6477338f3da4f9cd8514ea9982ccafb341b2384dd902f3d1ab
             7ac61dd29c6f21ba5b862f3730e37cfdc4fd806c22f221",
        ),
        (
            "A.2 #3",
            KEY,
            "000000000000000000000002",
            42,
            BRILLIG,
            "62e6347f95ed87a45ffae7426f27a1df5fb69110044c0d73118effa95b01e5cf
             166d3df2d721caf9b21e5fb14c616871fd84c54f9d65b283196c7fe4f60553eb
             f39c6402c42234e32a356b3e764312a61a5532055716ead6962568f87d3f3f77
             04c6a8d1bcd1bf4d50d6154b6da731b187b58dfd728afa36757a797ac188d1",
        ),
    ] {
        let mut sealed = text.to_vec();
        stream(key, nonce, counter).apply(&mut sealed);
        assert_eq!(hex(&sealed), hex(&vectors::bytes(expected)), "{case}");
        stream(key, nonce, counter).apply(&mut sealed);
        assert_eq!(sealed, text, "{case}: back");
    }
}

/// A text of any length is its blocks, one after the other, and the counter goes on.
#[test]
fn a_text_takes_the_blocks_in_turn() {
    let fresh = || stream(KEY, "000102030405060708090a0b", 7);
    let mut blocks = Vec::new();
    for number in 7..14 {
        blocks.extend(stream(KEY, "000102030405060708090a0b", number).block());
    }
    for len in 0..=blocks.len() {
        let mut text = vec![0; len];
        let mut stream = fresh();
        stream.apply(&mut text);
        assert_eq!(text, blocks[..len], "{len}");
        assert_eq!(stream.next[COUNTER], 7 + len.div_ceil(64) as u32, "{len}");
    }
}
