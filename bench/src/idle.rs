//! Memory of a connected, subscribed and otherwise idle client: the slope over their count.
//!
//! Must not know the server. Invariant: a figure is a slope over settled states of the same
//! processes, so what the server takes at start is not in it.

use crate::client::{Client, Identity};
use crate::crowd::Crowd;
use crate::net::Target;
use crate::proc;
use anyhow::{Result, bail};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Time in which buffers of the set-up go back.
const SETTLE: Duration = Duration::from_secs(3);

/// Counts of clients at which memory is read: a line through them says more than two of them.
const STATES: usize = 6;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    url: Target,
    /// HS256 secret: every connection is a user with a token. Without it they are anonymous.
    #[arg(long)]
    secret: Option<String>,
    #[arg(long, default_value_t = 5_000)]
    from: usize,
    #[arg(long, default_value_t = 15_000)]
    to: usize,
    #[arg(long)]
    server_pid: u32,
    #[arg(long, default_value = "plain:idle")]
    channel: String,
    /// Channels that the subscriptions are spread over; 0: one channel for each connection.
    #[arg(long, default_value_t = 1)]
    channels: usize,
}

struct Memory {
    server: u64,
    own: u64,
    available: u64,
}

pub fn run(args: &Args) -> Result<()> {
    let limit = proc::sockets();
    if args.to as u64 > limit || args.from >= args.to {
        bail!(
            "from {} to {} is not a range within the {limit} sockets of a process",
            args.from,
            args.to
        );
    }
    let mut client = Client::new(args.url.clone(), Identity::from(args.secret.as_deref()))?;
    client.sources = (1..=8).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
    let channel = |tag: usize| match args.channels {
        1 => Some(args.channel.clone()),
        0 => Some(format!("{}-{tag}", args.channel)),
        channels => Some(format!("{}-{}", args.channel, tag % channels)),
    };
    let mut crowd = Crowd::new(channel, |_, _| {});
    let mut states = Vec::with_capacity(STATES);
    for number in 0..STATES {
        let size = args.from + (args.to - args.from) * number / (STATES - 1);
        states.push((size, settled(args, &mut client, &mut crowd, size)?));
    }
    let slope = |bytes: fn(&Memory) -> u64| {
        let points = states.iter().map(|(size, memory)| (*size as f64, bytes(memory) as f64));
        slope(&points.collect::<Vec<_>>())
    };
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let series: Vec<String> = states.iter().map(|(_, memory)| mib(memory.server)).collect();
    println!(
        "server_rss_bytes_per_client={:.0} machine_bytes_per_client={:.0} \
         generator_rss_bytes_per_client={:.0} server_rss_mib={}",
        slope(|memory| memory.server),
        -slope(|memory| memory.available),
        slope(|memory| memory.own),
        series.join(","),
    );
    Ok(())
}

/// The slope of the straight line with the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let product: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let square: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    product / square
}

fn settled(args: &Args, client: &mut Client, crowd: &mut Crowd<'_>, size: usize) -> Result<Memory> {
    crowd.grow(client, size)?;
    crowd.stay(client, SETTLE)?;
    Ok(Memory {
        server: proc::rss(args.server_pid)?,
        own: proc::rss(std::process::id())?,
        available: proc::available()?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_slope_of_a_line_is_found_among_noise() {
        let points: Vec<(f64, f64)> = (0..6)
            .map(|number| (f64::from(number) * 2_000.0, f64::from(number) * 1_024_000.0))
            .collect();
        assert!((super::slope(&points) - 512.0).abs() < 0.001);
        let noisy: Vec<(f64, f64)> = points
            .iter()
            .enumerate()
            .map(|(index, point)| (point.0, point.1 + if index % 2 == 0 { 100.0 } else { -100.0 }))
            .collect();
        assert!((super::slope(&noisy) - 512.0).abs() < 0.1);
    }
}
