//! Corecast: a thread-per-core WebSocket gateway for realtime messages.
//!
//! The modules are listed in the order of a message's journey: the kernel hands bytes to a
//! `driver`, a `transport` opens them, `ws` and `http` cut them into messages, a `codec` reads
//! commands, an `edge` runs them for its connections, a `mesh` lane carries them to the `home` of
//! their channel, and deliveries come back the same way. ARCHITECTURE.md is the map.

#[macro_use]
mod listed;

pub mod clock;
pub mod hashing;
pub mod indexed;
pub mod limits;
pub mod meant;
pub mod namespace;
pub mod rules;
pub mod work;

pub mod contract;

pub mod api;
pub mod auth;
pub mod bridge;
pub mod codec;
pub mod driver;
pub mod edge;
mod filter;
pub mod home;
pub mod http;
pub mod mesh;
pub mod sim;
pub mod transport;
pub mod worker;
pub mod ws;

pub mod cli;
pub mod config;
pub mod logging;
pub mod metrics;
pub mod server;
pub mod tell;
