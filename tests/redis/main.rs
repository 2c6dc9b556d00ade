//! What the bridge says to Redis, tried on a real one, which each test starts for itself.

mod oracle;
