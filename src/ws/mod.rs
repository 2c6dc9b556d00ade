//! RFC 6455, server side, sans-IO.
//!
//! `handshake` answers an upgrade, `deframer` cuts received bytes into messages in place (with
//! `frame`, `mask` and `utf8` beneath it), `frame` writes what the server sends. Nothing here knows
//! sockets, HTTP's parser, commands or time: rates and the close handshake's time-out are the
//! edge's. Invariant: what a peer sends can cost memory only in proportion to the bytes it sent.

pub mod deframer;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod utf8;
