//! What the server does to a connection: subscriptions that it begins and ends, and commands about
//! users.

pub(super) mod subscriptions;
pub(super) mod user_calls;
pub(super) mod users;
