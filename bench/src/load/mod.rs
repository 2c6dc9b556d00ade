//! Load: scenarios, each measured and judged from outside.
//!
//! Must not know the server's code. Invariant: figures are printed as verified only if every
//! delivery of the run was counted, in order, and as sent.

pub mod clock;
pub mod echo;
pub mod fanout;
mod fleet;
mod meter;
mod options;
mod report;
mod saturate;
mod schedule;
mod session;
mod streams;
mod wire_state;
