//! RFC 6455, server side, sans-IO.
//!
//! `handshake` answers an upgrade, `deframer` cuts received bytes into messages in place (using
//! `frame`, `mask` and `utf8`), `frame` writes what the server sends. Must not know sockets, HTTP's
//! parser, commands or time; rates and the time-out of the close handshake belong to the edge.
//! Invariant: a peer can cause memory use only in proportion to the bytes it sent.

pub mod deframer;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod utf8;
