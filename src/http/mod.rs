//! HTTP on the workers' port, sans-IO.

pub mod api;
pub mod page;
pub mod routes;
