//! How many connections this host can hold with this configuration, and what limits them.
//!
//! Must not know where the numbers come from. Invariant: the answer is the smallest bound.

use serde::Serialize;

/// Bytes of kernel and user memory of one idle connection on the server's host: socket, armed
/// receive, open file, and the server's own (measured by scripts/million, with the clients
/// elsewhere).
const BYTES_PER_CONNECTION: u64 = 6 << 10;
/// Memory left for everything else.
const SPARE_BYTES: u64 = 1 << 30;

/// Bounds on the number of connections.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub workers: u64,
    /// Connections of one worker, by configuration and descriptors.
    pub per_worker: u64,
    /// Files that the host may still open.
    pub files: Option<u64>,
    /// Available memory of the host, or of the control group.
    pub available_bytes: Option<u64>,
    /// Connections that can still be tracked.
    pub tracked: Option<u64>,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    pub connections: u64,
    /// What would have to be raised to hold more.
    pub bounded_by: String,
}

/// The smallest bound.
#[must_use]
pub fn capacity(bounds: &Bounds) -> Capacity {
    let Bounds { workers, per_worker, .. } = *bounds;
    let own = format!("{workers} workers of {per_worker}: descriptors, or limits");
    let mut all = vec![(workers * per_worker, own)];
    let mut bound = |number: Option<u64>, name: &str| {
        all.extend(number.map(|number| (number, name.to_owned())));
    };
    bound(bounds.files, "fs.file-max");
    let memory = bounds.available_bytes;
    let memory = memory.map(|bytes| bytes.saturating_sub(SPARE_BYTES) / BYTES_PER_CONNECTION);
    bound(memory, "memory");
    bound(bounds.tracked, "net.netfilter.nf_conntrack_max");
    let least = all.into_iter().min_by_key(|(number, _)| *number);
    let (connections, bounded_by) = least.expect("workers are a bound");
    Capacity { connections, bounded_by }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_bound_decides() {
        let bounds = Bounds {
            workers: 2,
            per_worker: 19_936,
            files: Some(1_000_000),
            available_bytes: Some(8 << 30),
            tracked: None,
        };
        assert_eq!(capacity(&bounds).connections, 39_872);
        assert!(capacity(&bounds).bounded_by.starts_with("2 workers of 19936"));
        let tracked = Bounds { tracked: Some(10), ..bounds };
        assert_eq!(capacity(&tracked).bounded_by, "net.netfilter.nf_conntrack_max");
        let poor = Bounds { available_bytes: Some(SPARE_BYTES + (6 << 20)), ..bounds };
        let expected = Capacity { connections: 1_024, bounded_by: "memory".into() };
        assert_eq!(capacity(&poor), expected);
        let none = Bounds { available_bytes: Some(0), ..bounds };
        assert_eq!(capacity(&none).connections, 0);
    }
}
