//! Stub.
pub mod auth;
