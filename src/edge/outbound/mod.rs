//! From a home's deliveries to bytes to send: framed once for all who get the same, sent in ranges,
//! and kept where a socket takes no more.
//!
//! Nothing here is given the lanes: a delivery never causes a push (rule 3).

pub(super) mod backlog;
pub(super) mod deliver;
pub(super) mod fanout;
pub(super) mod flush;
pub(super) mod frames;
pub(super) mod output;
pub(super) mod replay;
