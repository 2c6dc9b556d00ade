//! Does the Redis of `engine = "redis"` suit, and what does each shortfall cost?
//!
//! `ask` speaks to it, `judge` says what its answers mean, `attempts` has what a user must be
//! allowed. Must not know the data path. Invariants: nothing in Redis is changed; it takes seconds
//! at most, whatever is at the other end, besides the system's look-up of a name.

mod ask;
mod attempts;
mod judge;

use super::finding::Finding;
use crate::config::Redis;

/// The findings about a Redis for channels that keep up to `history_size` publications; one alone
/// where there is none that can be used.
pub fn look(redis: &Redis, history_size: u32) -> Vec<Finding> {
    match ask::answers(redis, history_size) {
        Ok(answers) => judge::findings(&answers),
        Err(error) => vec![judge::unusable(&redis.server.to_string(), &error.to_string())],
    }
}
