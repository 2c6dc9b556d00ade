//! Every bound, reached from outside: a real server with a low bound, the documented answer, a
//! neighbour that keeps receiving meanwhile, and memory that is released afterwards.
//!
//! Must not know the server's code, except for its hash (names that would collide). Invariant:
//! every wait is for a condition, and has an end.

mod api;
mod backlogs;
mod client;
mod commands;
mod connections;
mod ending;
mod frames;
mod histories;
mod http;
mod listing;
mod names;
mod neighbour;
mod nodes;
mod order;
mod presence;
mod redis;
mod refusals;
mod responses;
mod rights;
mod server;
mod shares;
mod start;
mod stopping;
mod strangers;
mod tables;
mod tokens;
mod turns;
mod users;

/// One test per driver; a driver that the kernel refuses is reported as skipped.
macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod epoll {
            $(#[test] fn $name() { super::$name("epoll"); })+
        }
        mod io_uring {
            $(#[test] fn $name() { super::$name("io_uring"); })+
        }
    };
}
pub(crate) use on_both_drivers;

/// Starts a server on this driver, or skips the test.
macro_rules! serve {
    ($driver:expr, $config:expr) => {
        match crate::server::Server::start($driver, $config) {
            Some(server) => server,
            None => return,
        }
    };
}
pub(crate) use serve;
