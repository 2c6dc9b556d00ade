//! Every bound, reached from outside: a real server with the bound set low, its documented answer,
//! a neighbour that keeps receiving through it, and what was taken given back afterwards.
//!
//! Must not know the server's code, but for its hash (names that would collide). Invariant: a wait
//! is a wait for a condition, with an end.

mod api;
mod backlogs;
mod client;
mod commands;
mod connections;
mod ending;
mod frames;
mod histories;
mod http;
mod names;
mod neighbour;
mod order;
mod refusals;
mod responses;
mod server;
mod shares;
mod start;
mod strangers;
mod tables;
mod tokens;
mod turns;

/// One test per driver; a driver that the kernel refuses is skipped, and says so.
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
