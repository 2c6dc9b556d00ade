//! How connections and their subscriptions end, and how connections begin, are timed, and make
//! room.
//!
//! Nothing here is given the lanes: what an end owes to homes is noted, and pushed later.

mod close;
pub mod cut;
mod end;
mod life;
mod reading;
mod shedding;
mod strangers;
mod subscription_end;
mod transport;
