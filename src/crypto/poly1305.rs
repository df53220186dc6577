//! Poly1305 (RFC 8439, section 2.5): the text's 16-byte blocks as coefficients of a
//! polynomial, evaluated at a secret point modulo 2^130 - 5. A key is for one text.
//!
//! Numbers are five limbs of 26 bits, so that products and their sums fit 64 bits
//! and 32-bit processors do well. No branch depends on a number's value.

pub const BLOCK_LEN: usize = 16;

const LIMB_BITS: u32 = 26;
const LIMB: u32 = (1 << LIMB_BITS) - 1;
/// The one bit that stands above a whole block's 128, in the highest limb.
const ABOVE_BLOCK: u32 = 1 << (128 - 4 * LIMB_BITS);

/// A number, lowest limb first. Limbs may exceed 26 bits by a little between carries.
type Limbs = [u32; 5];

/// A text being authenticated.
pub struct Poly1305 {
    point: Limbs,
    sum: Limbs,
    /// Added to the polynomial's value at the end, modulo 2^128.
    mask: [u32; 4],
}

impl Poly1305 {
    /// Begins a text under a one-time `key`: the point, which is clamped, and the mask.
    pub fn new(key: &[u8; 32]) -> Poly1305 {
        let (point, mask) = key.split_at(BLOCK_LEN);
        let [r0, r1, r2, r3] = words(point);
        let clamp = 0x0fff_fffc;
        Poly1305 {
            point: limbs([r0 & 0x0fff_ffff, r1 & clamp, r2 & clamp, r3 & clamp]),
            sum: [0; 5],
            mask: words(mask),
        }
    }

    /// Adds `text`, filled up with zeros to whole blocks.
    pub fn padded(&mut self, text: &[u8]) {
        let mut blocks = text.chunks_exact(BLOCK_LEN);
        for block in &mut blocks {
            self.block(words(block), ABOVE_BLOCK);
        }
        let rest = blocks.remainder();
        if !rest.is_empty() {
            let mut block = [0; BLOCK_LEN];
            block[..rest.len()].copy_from_slice(rest);
            self.block(words(&block), ABOVE_BLOCK);
        }
    }

    /// `sum = (sum + block) * point`, with `above` in the block's highest limb.
    fn block(&mut self, block: [u32; 4], above: u32) {
        let mut sum = limbs(block);
        sum[4] |= above;
        for (limb, before) in sum.iter_mut().zip(self.sum) {
            *limb += before;
        }
        self.sum = carry(product(sum, self.point));
    }

    /// The tag of all that was added.
    pub fn tag(self) -> [u8; BLOCK_LEN] {
        let value = packed(reduce(self.sum));
        let mut tag = [0; BLOCK_LEN];
        let mut carry = 0;
        for (bytes, (word, mask)) in tag
            .chunks_exact_mut(4)
            .zip(value.into_iter().zip(self.mask))
        {
            carry += u64::from(word) + u64::from(mask);
            bytes.copy_from_slice(&(carry as u32).to_le_bytes());
            carry >>= 32;
        }
        tag
    }
}

/// The four little-endian words of 16 bytes.
fn words(bytes: &[u8]) -> [u32; 4] {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

/// 128 bits as limbs.
fn limbs([w0, w1, w2, w3]: [u32; 4]) -> Limbs {
    [
        w0 & LIMB,
        (w0 >> 26 | w1 << 6) & LIMB,
        (w1 >> 20 | w2 << 12) & LIMB,
        (w2 >> 14 | w3 << 18) & LIMB,
        w3 >> 8,
    ]
}

/// The low 128 bits of a number whose limbs have 26 bits each.
fn packed([h0, h1, h2, h3, h4]: Limbs) -> [u32; 4] {
    [
        h0 | h1 << 26,
        h1 >> 6 | h2 << 20,
        h2 >> 12 | h3 << 14,
        h3 >> 18 | h4 << 8,
    ]
}

/// `a * b` by columns. 2^130 is 5 here, so what would stand five limbs up counts
/// five times where it wraps to. With limbs of `a` below 2^28 and of `b` up to 2^26
/// no column reaches 2^59.
fn product([a0, a1, a2, a3, a4]: Limbs, [b0, b1, b2, b3, b4]: Limbs) -> [u64; 5] {
    let (c1, c2, c3, c4) = (b1 * 5, b2 * 5, b3 * 5, b4 * 5);
    let column = |b: [u32; 5]| {
        let terms = [a0, a1, a2, a3, a4].into_iter().zip(b);
        terms.map(|(a, b)| u64::from(a) * u64::from(b)).sum()
    };
    [
        column([b0, c4, c3, c2, c1]),
        column([b1, b0, c4, c3, c2]),
        column([b2, b1, b0, c4, c3]),
        column([b3, b2, b1, b0, c4]),
        column([b4, b3, b2, b1, b0]),
    ]
}

/// Brings columns back to limbs of 26 bits, but for the second, which may exceed
/// them by some 2^10.
fn carry(columns: [u64; 5]) -> Limbs {
    let mut sum = [0; 5];
    let mut above = 0;
    for (limb, column) in sum.iter_mut().zip(columns) {
        let column = column + above;
        *limb = column as u32 & LIMB;
        above = column >> LIMB_BITS;
    }
    let lowest = u64::from(sum[0]) + above * 5;
    sum[0] = lowest as u32 & LIMB;
    sum[1] += (lowest >> LIMB_BITS) as u32;
    sum
}

/// What `carry` gave, modulo 2^130 - 5, in limbs of 26 bits. The number and the
/// number less the prime are both made, and one is masked away: which, is secret.
fn reduce(number: Limbs) -> Limbs {
    // Once is enough: if the second limb passes its excess on, it is small after.
    let number = carry(number.map(u64::from));
    let mut less = [0; 5];
    let mut above = 5;
    for (limb, from) in less.iter_mut().zip(number) {
        above += from;
        *limb = above & LIMB;
        above >>= LIMB_BITS;
    }
    // `above` is 1 when the number is the prime or more, else 0.
    let take_less = above.wrapping_neg();
    let mut reduced = [0; 5];
    for (limb, (less, number)) in reduced.iter_mut().zip(less.into_iter().zip(number)) {
        *limb = (less & take_less) | (number & !take_less);
    }
    reduced
}

#[cfg(test)]
mod tests;
