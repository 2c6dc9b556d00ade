//! HTTP/1.1, server side, sans-IO (RFC 9112).
//!
//! `request` reads heads, `body` what follows them, `response` writes answers. Nothing here knows sockets, time or
//! what is served. Invariant: a request whose length could be read in two ways is refused.

pub mod body;
pub mod request;
pub mod response;
