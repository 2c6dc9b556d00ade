//! What the server does to a connection: subscriptions that it begins and ends, and commands about
//! users.

mod connect;
mod renewing;
mod subscriptions;
mod users;
