//! Fossil deltas: the difference between two texts, found within a bound of work.
//!
//! The base is indexed by its blocks of 16 bytes; the text is searched byte by byte for copies of
//! them. Must not know channels. Invariants: at most `DELTA_STEPS` are taken, whatever the texts
//! are; when they are used up, the rest is sent as it is, and the patch is still valid.

use crate::limits::DELTA_STEPS;

const BLOCK: usize = 16;
const NONE: u32 = u32::MAX;
/// A copy of this length is taken without searching for a longer one.
const LONG: usize = 256;
/// Bytes that are compared in one step, roughly.
const BYTES_PER_STEP: usize = 16;
/// Most bytes that a copy's numbers and marks take.
const COPY_BYTES: usize = 12;
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// The patch from `before` to `data`, and the steps that finding it took.
pub fn find(before: &[u8], data: &[u8]) -> (Vec<u8>, usize) {
    let mut patch = Vec::with_capacity(data.len() / 4 + 64);
    number(&mut patch, data.len());
    patch.push(b'\n');
    let blocks = Blocks::new(before);
    let mut steps = before.len() / BLOCK;
    let (mut written, mut at) = (0, 0);
    while at + BLOCK <= data.len() && steps < DELTA_STEPS {
        steps += 1;
        let Some(copy) = blocks.longest(before, data, (written, at), &mut steps) else {
            at += 1;
            continue;
        };
        literal(&mut patch, &data[written..copy.to]);
        number(&mut patch, copy.length);
        patch.push(b'@');
        number(&mut patch, copy.from);
        patch.push(b',');
        at = copy.to + copy.length;
        written = at;
    }
    literal(&mut patch, &data[written..]);
    number(&mut patch, checksum(data) as usize);
    patch.push(b';');
    (patch, steps)
}

/// A part of the text that is also in the base.
#[derive(Clone, Copy)]
struct Copied {
    from: usize,
    to: usize,
    length: usize,
}

/// The blocks of a base by a hash of their bytes: the last of each, then the one before it.
struct Blocks {
    last: Vec<u32>,
    before: Vec<u32>,
}

impl Blocks {
    fn new(base: &[u8]) -> Blocks {
        let count = base.len() / BLOCK;
        let mut blocks = Blocks {
            last: vec![NONE; count.next_power_of_two().max(1)],
            before: Vec::with_capacity(count),
        };
        for (number, block) in (0_u32..).zip(base.chunks_exact(BLOCK)) {
            let place = blocks.place(block);
            blocks.before.push(std::mem::replace(&mut blocks.last[place], number));
        }
        blocks
    }

    fn place(&self, block: &[u8]) -> usize {
        let hash = word(block).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ word(&block[8..]).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (self.last.len() - 1)
    }

    /// The longest copy that contains the block at `at` of the text, without what was already
    /// written.
    fn longest(
        &self,
        base: &[u8],
        data: &[u8],
        (written, at): (usize, usize),
        steps: &mut usize,
    ) -> Option<Copied> {
        let block = &data[at..at + BLOCK];
        let mut next = self.last[self.place(block)];
        let mut best: Option<Copied> = None;
        while next != NONE && *steps < DELTA_STEPS {
            let start = next as usize * BLOCK;
            next = self.before[next as usize];
            *steps += 1;
            if &base[start..start + BLOCK] != block {
                continue;
            }
            let more = alike(base[start + BLOCK..].iter().zip(&data[at + BLOCK..]));
            let earlier = alike(base[..start].iter().rev().zip(data[written..at].iter().rev()));
            *steps += (more + earlier) / BYTES_PER_STEP;
            let length = earlier + BLOCK + more;
            if best.is_none_or(|best| length > best.length) {
                best = Some(Copied { from: start - earlier, to: at - earlier, length });
            }
            if length >= LONG {
                break;
            }
        }
        best.filter(|best| best.length > COPY_BYTES)
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

fn alike<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    pairs.take_while(|(one, other)| one == other).count()
}

fn literal(patch: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        number(patch, bytes.len());
        patch.push(b':');
        patch.extend_from_slice(bytes);
    }
}

/// A number in base 64, the highest digit first.
fn number(patch: &mut Vec<u8>, number: usize) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(6).max(1);
    patch.extend((0..digits).rev().map(|digit| DIGITS[number >> (6 * digit) & 63]));
}

/// The sum of the words of four bytes, big endian.
fn checksum(data: &[u8]) -> u32 {
    let word = |bytes: &[u8]| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        u32::from_be_bytes(word)
    };
    data.chunks(4).map(word).fold(0, u32::wrapping_add)
}
