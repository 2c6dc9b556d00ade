//! Load: scenarios, each measured and judged from outside.
//!
//! Must not know the server's code. Invariant: figures are printed as verified only if every
//! delivery of the run was counted, in order, and as sent.

mod churn;
pub mod clock;
pub mod connect;
mod drive;
pub mod echo;
pub mod fanout;
mod fleet;
pub mod hop;
pub mod http;
pub mod idle;
mod meter;
mod options;
mod plan;
pub mod recover;
mod redis;
mod report;
mod saturate;
mod schedule;
pub mod script;
mod session;
pub mod streaming;
mod streams;
#[cfg(test)]
mod tests;
mod watch;
mod window;
mod wire_state;

pub use session::pin;
