//! What an operator does to a server, and its surroundings: users with few resources, signals,
//! quotas, ports in use. Real processes, real kernels; what this host cannot do is reported as
//! SKIPPED.
//!
//! Must not know the server's code. Invariant: every wait is for a condition, and has an end.

mod locked;
mod ports;
mod process;
mod quota;
mod signals;
mod streams;
