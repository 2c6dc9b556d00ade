//! A whole host in one thread, from one seed: the real workers, lanes and homes between a simulated
//! kernel, simulated clients and a stub of the bridge; a ledger judges what the clients saw.
//!
//! It may import everything but the real drivers and the server. Invariant: one seed is one run.

pub mod bridge;
pub mod client;
pub mod driver;
mod inbox;
pub mod ledger;
pub mod net;
pub mod plan;
pub mod random;
pub mod record;
pub mod stream;
mod subscription;
pub mod wire;
