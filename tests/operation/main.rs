//! What an operator does to a server, and what surrounds it: users with little, signals, quotas,
//! ports that are taken. Real processes, real kernels; what this host cannot do is SKIPPED, in so
//! many words.
//!
//! Must not know the server's code. Invariant: a wait is a wait for a condition, with an end.

mod locked;
mod ports;
mod process;
mod quota;
mod signals;
mod streams;
