//! HTTP/1.1 on the workers' port, server side, sans-IO (RFC 9112).
//!
//! `request` reads heads, `body` reads bodies, `response` writes answers; `routes`, `api` and
//! `page` say what is served. Must not know sockets or time. Invariant: a request whose length
//! could be read in two ways is refused.

pub mod body;
pub mod date;
pub mod forwarded;
pub mod origin;
#[cfg(test)]
mod origin_tests;
pub mod page;
pub mod request;
pub mod response;
pub mod routes;
