//! What the bridge says to Redis, tried on a real one, which each test starts for itself.

mod begin;
mod doctor;
mod example;
mod incarnation;
mod lease;
mod members;
mod model;
mod node;
mod numbering;
mod oracle;
mod paging;
mod publish;
mod refusals;
mod rig;
mod shard;
mod slots;
