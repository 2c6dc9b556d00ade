//! Memory of a connected, subscribed and otherwise idle client: the slope between two counts.
//!
//! Must not know the server. Invariant: a figure is a difference of two settled states of the same
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
    let before = settled(args, &mut client, &mut crowd, args.from)?;
    let after = settled(args, &mut client, &mut crowd, args.to)?;
    let slope = |from: u64, to: u64| (to as f64 - from as f64) / (args.to - args.from) as f64;
    let machine = slope(after.available, before.available);
    println!(
        "server_rss_bytes_per_client={:.0} machine_bytes_per_client={:.0} \
         generator_rss_bytes_per_client={:.0} server_rss_mib={:.1}",
        slope(before.server, after.server),
        machine,
        slope(before.own, after.own),
        after.server as f64 / f64::from(1 << 20),
    );
    Ok(())
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
