//! Stores the chunks of armed sends, so that a connection without one needs only four bytes.
//!
//! Must not know sockets. Invariant: a chunk stays until it is removed, whatever happens to others.

use bytes::Bytes;

/// The number of no chunk.
pub const NONE: u32 = u32::MAX;

/// Chunks by number.
#[derive(Debug, Default)]
pub struct Chunks {
    chunks: Vec<Bytes>,
    free: Vec<u32>,
}

impl Chunks {
    /// Stores a chunk and returns its number.
    pub fn insert(&mut self, chunk: Bytes) -> u32 {
        if let Some(number) = self.free.pop() {
            debug_assert!(self.chunks[number as usize].is_empty(), "a number that is in use");
            self.chunks[number as usize] = chunk;
            return number;
        }
        self.chunks.push(chunk);
        self.chunks.len() as u32 - 1
    }

    /// The chunk of that number.
    pub fn get_mut(&mut self, number: u32) -> &mut Bytes {
        &mut self.chunks[number as usize]
    }

    /// Removes a chunk; its number is reused.
    pub fn remove(&mut self, number: u32) {
        if number != NONE {
            self.chunks[number as usize] = Bytes::new();
            self.free.push(number);
            debug_assert!(self.free.len() <= self.chunks.len(), "a chunk was removed twice");
        }
    }
}
