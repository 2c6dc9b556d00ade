//! What this node says of itself to the others that share its Redis.
//!
//! Must not know how it is told. Invariant: what does not change is made once, at the start.

use super::clock::Clock;
use super::host;
use crate::bridge::redis::directory::NodeRecord;
use crate::edge::ProcessUse;
use crate::hashing::{Key, Keyed};
use crate::metrics::CoreMetrics;
use crate::namespace::Namespaces;
use std::hash::BuildHasher;
use std::sync::Arc;

/// See the module's page.
pub struct About {
    fixed: NodeRecord,
    metrics: Vec<Arc<CoreMetrics>>,
    clock: Clock,
}

impl About {
    /// `node` is its id and name in `info`.
    pub fn new(
        node: &(String, String),
        namespaces: &Namespaces,
        metrics: Vec<Arc<CoreMetrics>>,
        clock: Clock,
    ) -> About {
        let now = clock.now();
        let fixed = NodeRecord {
            uid: node.0.clone(),
            name: node.1.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: now.unix_ms.saturating_sub(now.monotonic_ms()),
            workers: u32::try_from(metrics.len()).unwrap_or(u32::MAX),
            // The same key everywhere: it is compared by nodes of one version only.
            fingerprint: Keyed::new(Key::of(0)).hash_one(format!("{namespaces:?}")),
            ..NodeRecord::default()
        };
        About { fixed, metrics, clock }
    }

    /// What the node is called, in 32 digits.
    pub fn uid(&self) -> &str {
        &self.fixed.uid
    }

    /// What there is to say now.
    pub fn record(&self) -> NodeRecord {
        let sum = |of: fn(&CoreMetrics) -> u64| self.metrics.iter().map(|core| of(core)).sum();
        let ProcessUse { cpu_ns, resident_bytes, .. } = host::process();
        let uptime_ms = self.clock.now().monotonic_ms();
        NodeRecord {
            uptime_s: uptime_ms / 1_000,
            connections: sum(|core| core.connections.get()),
            users: sum(|core| core.users.get()),
            subscriptions: sum(|core| core.subscriptions.get()),
            channels: sum(|core| core.subscribed_channels.get()),
            cpu_percent: cpu_ns as f64 / 10_000.0 / uptime_ms.max(1) as f64,
            resident_bytes,
            ..self.fixed.clone()
        }
    }
}
