//! The atomics of lanes and doorbells: the standard library's, or loom's under its model checker.

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, Ordering, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
