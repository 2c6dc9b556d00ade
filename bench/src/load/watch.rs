//! What Redis and the threads of servers did between two looks: commands, bytes, subscriptions,
//! batches, CPU time.
//!
//! Must not know scenarios. Invariant: what the looks themselves ask is not among the commands.

use super::clock;
use super::redis::Redis;
use crate::proc;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

/// Time for a node's metrics.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is looked at.
pub struct Watch {
    port: u16,
    /// A node whose batches are asked for, if it has such metrics.
    node: SocketAddrV4,
    servers: Vec<u32>,
}

/// Sums so far, by the name that their difference is reported with.
#[derive(Clone, Debug, Default)]
pub struct Look {
    at: u64,
    sums: BTreeMap<String, f64>,
    /// Nanoseconds by thread's name.
    threads: BTreeMap<String, u64>,
    /// Subscriptions of each of Redis' connections that has any, most first.
    subscriptions: Vec<f64>,
}

impl Watch {
    #[must_use]
    pub fn new(port: u16, node: SocketAddrV4, servers: &[u32]) -> Watch {
        Watch { port, node, servers: servers.to_vec() }
    }

    /// # Errors
    /// Redis does not answer, or a server is gone.
    pub fn look(&self) -> Result<Look> {
        let mut redis = Redis::connect(self.port)?;
        let mut sums = commands(&redis.text(&["INFO", "commandstats"])?);
        let stats = redis.text(&["INFO", "stats"])?;
        let bytes = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        let bytes: f64 = bytes.context("Redis counts no bytes")?.trim().parse()?;
        sums.insert("redis_output_bytes".into(), bytes);
        let subscriptions = subscriptions(&redis.text(&["CLIENT", "LIST"])?);
        sums.extend(self.batches().unwrap_or_default());
        let mut threads = BTreeMap::new();
        for server in &self.servers {
            for (name, ran) in proc::cpu_by_name(*server)? {
                *threads.entry(name).or_insert(0) += ran.as_nanos() as u64;
            }
        }
        Ok(Look { at: clock::now(), sums, threads, subscriptions })
    }

    /// The counters of batches of a node of ours.
    fn batches(&self) -> Result<BTreeMap<String, f64>> {
        let mut stream = TcpStream::connect(self.node)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let host = self.node;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let names = ["redis_batches", "redis_batched"];
        let find = |name: &&str| {
            let line = format!("corecast_{name}_total ");
            let value = text.lines().find_map(|text| text.strip_prefix(&line))?;
            Some(((*name).to_owned(), value.trim().parse().ok()?))
        };
        Ok(names.iter().filter_map(find).collect())
    }
}

impl Look {
    /// What came to pass since an earlier one, by name.
    #[must_use]
    pub fn since(&self, before: &Look) -> BTreeMap<String, f64> {
        let gained = |name: &String, now: &f64| now - before.sums.get(name).unwrap_or(&0.0);
        let sums = self.sums.iter().map(|(name, now)| (name.clone(), gained(name, now)));
        let mut all: BTreeMap<String, f64> = sums.filter(|(_, gained)| *gained > 0.0).collect();
        let time = self.at.saturating_sub(before.at).max(1) as f64;
        for (name, now) in &self.threads {
            let ran = now.saturating_sub(*before.threads.get(name).unwrap_or(&0));
            if ran > 0 {
                all.insert(format!("core_share_{name}"), ran as f64 / time);
            }
        }
        let most = ["redis_subscriptions_most", "redis_subscriptions_next"];
        all.extend(most.iter().map(|name| (*name).to_owned()).zip(self.subscriptions.clone()));
        all
    }
}

/// Calls of each command; those within scripts count too.
fn commands(stats: &str) -> BTreeMap<String, f64> {
    let call = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        let is_ours = matches!(name, "info" | "client|list");
        (!is_ours).then(|| (format!("redis_calls_{name}"), calls))
    };
    stats.lines().filter_map(call).collect()
}

fn subscriptions(list: &str) -> Vec<f64> {
    let of = |line: &str| {
        let word = line.split(' ').find_map(|word| word.strip_prefix("sub="));
        word.and_then(|word| word.parse().ok()).filter(|count| *count > 0.0)
    };
    let mut each: Vec<f64> = list.lines().filter_map(of).collect();
    each.sort_by(|one, other| other.total_cmp(one));
    each
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_reported_without_what_the_looks_ask() {
        let stats = "# Commandstats\r\ncmdstat_xadd:calls=7,usec=9,usec_per_call=1.0\r\n\
                     cmdstat_info:calls=3,usec=1\r\ncmdstat_ping:calls=4,usec=1\r\n";
        let list = "id=1 name=a sub=2 psub=0\nid=2 name=b sub=0 psub=0\nid=3 name= sub=1000 psub=0";
        let before = Look { at: 0, sums: commands(stats), ..Look::default() };
        let later = stats.replace("cmdstat_info:calls=3", "cmdstat_info:calls=5");
        let mut after = Look { at: 1_000, sums: commands(&later), ..Look::default() };
        after.sums.insert("redis_calls_xadd".into(), 10.0);
        after.threads.insert("bridge".into(), 250);
        after.subscriptions = subscriptions(list);
        let found: Vec<(String, f64)> = after.since(&before).into_iter().collect();
        let expected = [
            ("core_share_bridge", 0.25),
            ("redis_calls_xadd", 3.0),
            ("redis_subscriptions_most", 1000.0),
            ("redis_subscriptions_next", 2.0),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
    }
}
