//! Byte streams with known contents, so that a lost, doubled or swapped byte is noticed at once.
//!
//! Must not know drivers.

/// The bytes of stream `seed`, one after another.
#[derive(Clone, Debug)]
pub struct Stream {
    seed: u64,
    pub at: u64,
}

impl Stream {
    pub fn new(seed: u64) -> Stream {
        Stream { seed, at: 0 }
    }

    fn byte(&self, at: u64) -> u8 {
        let word = (at / 8).wrapping_add(self.seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ (word >> 29)).to_le_bytes()[(at % 8) as usize]
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let bytes = (0..len as u64).map(|offset| self.byte(self.at + offset)).collect();
        self.at += len as u64;
        bytes
    }

    /// Checks that `bytes` are the next ones.
    pub fn expect(&mut self, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(*byte, self.byte(self.at), "stream {} at {}", self.seed, self.at);
            self.at += 1;
        }
    }
}

/// Random numbers from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
