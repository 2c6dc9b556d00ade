//! What the server does to a connection: begins and ends subscriptions, and carries out commands
//! about users.

mod connect;
mod renewing;
mod subscriptions;
mod users;
