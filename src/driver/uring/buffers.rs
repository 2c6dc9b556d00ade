//! The kernel's receive buffers, and the ring by which it gets them.
//!
//! Must not know sockets. Invariant: a buffer is either the kernel's or lent, never both.

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

/// The only buffer group.
pub const GROUP: u16 = 0;

/// Buffers of one size. The kernel is given more only when it runs out, so that a quiet core reuses
/// a few buffers that stay in its cache.
pub struct BufRing {
    /// The ring, then the buffers, in one mapping.
    base: *mut u8,
    entries: u16,
    buffer_bytes: u32,
    tail: u16,
    /// Number of buffers ever handed out, from the first one.
    provided: u16,
    /// Those of them that came back with a completion and were not returned yet.
    lent: u16,
}

impl BufRing {
    /// Room for `entries` (a power of two, at most 32,768) buffers of `buffer_bytes`.
    pub fn new(entries: u16, buffer_bytes: u32) -> io::Result<BufRing> {
        assert!(entries.is_power_of_two() && entries <= 1 << 15 && buffer_bytes > 0);
        // Populated, because a burst may need any buffer, and their memory should not appear to be
        // that of connections.
        // SAFETY: a new anonymous mapping does not affect existing memory.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                mapped_bytes(entries, buffer_bytes),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )
        }?;
        let base = base.cast();
        Ok(BufRing { base, entries, buffer_bytes, tail: 0, provided: 0, lent: 0 })
    }

    /// Registers the ring with the kernel, without any buffers.
    pub fn register(&self, ring: &IoUring) -> io::Result<()> {
        let submitter = ring.submitter();
        let base = self.base as u64;
        // SAFETY: the mapping is page-aligned, holds `entries` entries, and outlives the kernel's
        // use: the driver drops it after the ring, or leaks it.
        unsafe { submitter.register_buf_ring_with_flags(base, self.entries, GROUP, 0) }
    }

    /// Hands more buffers to the kernel: as many again, and at least `least`, as far as there are
    /// any.
    pub fn grow(&mut self, least: u16) {
        let end = self.provided.saturating_add(self.provided.max(least)).min(self.entries);
        for id in self.provided..end {
            self.put(id);
        }
        debug_assert!(self.provided <= end && end <= self.entries, "it never takes one back");
        self.provided = end;
        self.publish();
    }

    /// Buffers that the kernel still has, not counting completions on their way.
    pub fn left(&self) -> u16 {
        self.provided - self.lent
    }

    /// A completion delivered buffer `id`.
    pub fn lend(&mut self, id: u16) {
        debug_assert!(id < self.provided);
        self.lent += 1;
        debug_assert!(self.lent <= self.provided, "more lent than there are");
    }

    /// The first `len` bytes of a lent buffer.
    pub fn bytes(&mut self, id: u16, len: u32) -> &mut [u8] {
        assert!(id < self.provided && len <= self.buffer_bytes);
        let offset = ring_bytes(self.entries) + id as usize * self.buffer_bytes as usize;
        // SAFETY: the buffer lies within the mapping.
        let start = unsafe { self.base.add(offset) };
        // SAFETY: the buffer is lent, so the kernel does not write it, and `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(start, len as usize) }
    }

    /// Returns a lent buffer to the kernel.
    pub fn give_back(&mut self, id: u16) {
        debug_assert!(self.lent > 0 && id < self.provided, "a buffer that is not lent");
        self.lent -= 1;
        self.put(id);
        self.publish();
    }

    /// Never unmaps the memory, because the kernel may still write to it.
    pub fn leak(&mut self) {
        self.base = ptr::null_mut();
    }

    fn put(&mut self, id: u16) {
        debug_assert!(id < self.entries && !self.base.is_null());
        let offset = ring_bytes(self.entries) + id as usize * self.buffer_bytes as usize;
        let address = self.base as u64 + offset as u64;
        let place = self.tail % self.entries;
        let entries = self.base.cast::<BufRingEntry>();
        // SAFETY: the entry is within the ring.
        let entry = unsafe { entries.add(place as usize) };
        // SAFETY: a zeroed or once written entry is valid, and the kernel reads only those between
        // its head and the published tail, which this one is not.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the base is the first entry, within which the kernel looks for the tail.
        let tail = unsafe { BufRingEntry::tail(self.base.cast()) };
        // SAFETY: it is aligned for its type, and nothing else writes it during the borrow.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for BufRing {
    fn drop(&mut self) {
        if self.base.is_null() {
            return;
        }
        let len = mapped_bytes(self.entries, self.buffer_bytes);
        // SAFETY: the driver drops it when no receive is under way, so nothing uses the mapping.
        let unmapped = unsafe { munmap(self.base.cast(), len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Bytes of the ring, rounded to whole buffers' alignment.
fn ring_bytes(entries: u16) -> usize {
    (entries as usize * size_of::<BufRingEntry>()).next_multiple_of(4_096)
}

fn mapped_bytes(entries: u16, buffer_bytes: u32) -> usize {
    ring_bytes(entries) + entries as usize * buffer_bytes as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_until_all_buffers_are_the_kernels() {
        let mut ring = BufRing::new(256, 64).expect("memory");
        let left: Vec<u16> = (0..4)
            .map(|_| {
                ring.grow(64);
                ring.left()
            })
            .collect();
        assert_eq!(left, [64, 128, 256, 256]);
        ring.lend(255);
        assert_eq!(ring.left(), 255);
        ring.bytes(255, 64).fill(7);
        ring.give_back(255);
        assert_eq!(ring.left(), 256);
    }
}
