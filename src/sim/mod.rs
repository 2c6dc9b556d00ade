//! A whole host in one thread, from one seed: the real workers, lanes and homes between a simulated
//! kernel, simulated clients and a stub of the bridge; a ledger judges what the clients saw.
//!
//! It may import everything but the real drivers and the server. Invariant: one seed is one run.

mod assemble;
mod beyond;
pub mod bridge;
pub mod caller;
pub mod client;
pub mod core;
pub mod dialect;
pub mod driver;
mod ends;
mod errand;
mod fairness;
mod filter;
pub mod host;
mod inbox;
pub mod ledger;
mod listing;
pub mod net;
pub mod plan;
mod promise;
mod publishing;
pub mod random;
pub mod record;
pub mod redis;
mod rest;
pub mod run;
mod server_side;
mod stop;
pub mod stream;
mod subscription;
mod waiting;
pub mod wire;
