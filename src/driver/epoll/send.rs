//! How the epoll driver hands segments to the kernel.
//!
//! Must not know slots. Its invariant: what it says went out is a run of bytes from the first.

use crate::driver::Segment;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, SendAncillaryBuffer, SendFlags};
use std::io::IoSlice;

/// Segments handed to the kernel in one call.
const SEGMENTS: usize = crate::limits::SEGMENTS_PER_SEND as usize;
/// Every send is inline: it waits for nothing, and a dead peer is an error, not a signal.
pub const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Sends segments in order until all are out or the socket is full: the bytes that went out, and
/// whether all did.
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
