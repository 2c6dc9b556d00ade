//! How connections begin, are timed, end, and make room; and an edge's part in a shutdown.

pub(super) mod close;
pub(super) mod drain;
pub(super) mod end;
pub(super) mod life;
