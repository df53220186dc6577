//! ChaCha20 (RFC 8439, sections 2.1 to 2.4): 64-byte blocks of key stream from a
//! key, a nonce and a counter, and texts joined with them by exclusive or. Adds,
//! rotations and exclusive ors alone, in an order that never changes.

pub const BLOCK_LEN: usize = 64;

/// "expand 32-byte k": the first row of every state.
const CONSTANTS: [u32; 4] = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];
/// Each a round of columns and one of diagonals.
const DOUBLE_ROUNDS: usize = 10;
/// The word of the state that counts blocks.
const COUNTER: usize = 12;

/// The sixteen words that a block is made of, row by row.
type State = [u32; 16];

/// The key stream of one key and nonce, block by block.
pub struct ChaCha20 {
    next: State,
}

impl ChaCha20 {
    /// The key stream from block number `counter` on. It holds 2^32 blocks; the
    /// caller never asks for more, for then they would repeat.
    pub fn new(key: &[u8; 32], nonce: &[u8; 12], counter: u32) -> ChaCha20 {
        let mut next = [0; 16];
        next[..4].copy_from_slice(&CONSTANTS);
        fill(&mut next[4..COUNTER], key);
        next[COUNTER] = counter;
        fill(&mut next[COUNTER + 1..], nonce);
        ChaCha20 { next }
    }

    /// The next block.
    pub fn block(&mut self) -> [u8; BLOCK_LEN] {
        let state = permute(self.next);
        let mut block = [0; BLOCK_LEN];
        let words = state.iter().zip(&self.next);
        for (bytes, (word, start)) in block.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.wrapping_add(*start).to_le_bytes());
        }
        self.next[COUNTER] = self.next[COUNTER].wrapping_add(1);
        block
    }

    /// Encrypts `text`, or decrypts it, which is the same. Takes whole blocks: what
    /// the last one has more than the text is gone.
    pub fn apply(&mut self, text: &mut [u8]) {
        for chunk in text.chunks_mut(BLOCK_LEN) {
            let block = self.block();
            for (byte, key) in chunk.iter_mut().zip(block) {
                *byte ^= key;
            }
        }
    }
}

fn fill(words: &mut [u32], bytes: &[u8]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
}

/// The twenty rounds. Written plainly: the compiler makes rows of vectors of it,
/// which measured better than rows or several blocks at once written by hand.
fn permute(mut state: State) -> State {
    for _ in 0..DOUBLE_ROUNDS {
        quarter_round(&mut state, 0, 4, 8, 12);
        quarter_round(&mut state, 1, 5, 9, 13);
        quarter_round(&mut state, 2, 6, 10, 14);
        quarter_round(&mut state, 3, 7, 11, 15);
        quarter_round(&mut state, 0, 5, 10, 15);
        quarter_round(&mut state, 1, 6, 11, 12);
        quarter_round(&mut state, 2, 7, 8, 13);
        quarter_round(&mut state, 3, 4, 9, 14);
    }
    state
}

fn quarter_round(state: &mut State, a: usize, b: usize, c: usize, d: usize) {
    step(state, a, b, d, 16);
    step(state, c, d, b, 12);
    step(state, a, b, d, 8);
    step(state, c, d, b, 7);
}

/// `a += b; d ^= a; d <<<= turn`
fn step(state: &mut State, a: usize, b: usize, d: usize, turn: u32) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(turn);
}

#[cfg(test)]
mod tests;
