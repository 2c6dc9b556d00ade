//! How the epoll driver passes segments to the kernel.
//!
//! Must not know slots. Invariant: the bytes it reports as sent are contiguous from the first.

use crate::driver::Segment;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, SendAncillaryBuffer, SendFlags};
use std::io::IoSlice;

/// Most segments passed to the kernel in one call.
const SEGMENTS: usize = crate::limits::SEGMENTS_PER_SEND as usize;
/// Every send is inline: it never waits, and a dead peer is an error, not a signal.
pub const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Sends segments in order until all are sent or the socket is full. Returns the bytes sent, and
/// whether they are all.
pub fn send_segments(
    fd: &OwnedFd,
    arena: &[u8],
    pool: &[u8],
    segments: &[Segment],
) -> (u32, Result<bool, Errno>) {
    debug_assert!(!segments.is_empty(), "a send of nothing");
    let mut total = 0;
    for segments in segments.chunks(SEGMENTS) {
        let mut parts = [IoSlice::new(&[]); SEGMENTS];
        let mut len = 0;
        for (part, segment) in parts.iter_mut().zip(segments) {
            *part = IoSlice::new(segment.of(arena, pool));
            len += segment.len;
        }
        let parts = &parts[..segments.len()];
        match net::sendmsg(fd, parts, &mut SendAncillaryBuffer::default(), SEND_FLAGS) {
            Ok(sent) => {
                debug_assert!(sent as u32 <= len, "more went out than there was");
                total += sent as u32;
                if (sent as u32) < len {
                    return (total, Ok(false));
                }
            }
            Err(errno) => return (total, Err(errno)),
        }
    }
    (total, Ok(true))
}
