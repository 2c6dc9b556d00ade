//! From what a home published, or a command is answered, to bytes to send: framed once for all who
//! get the same, sent in ranges, and kept where a socket takes no more.
//!
//! Nothing here is given the lanes: a delivery never causes a push (rule 3).

mod deferring;
pub mod fanout;
pub mod flush;
mod replies;
pub mod staging;
