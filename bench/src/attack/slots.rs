//! More connections than slots: refusals with a reason, no spinning, and slots become free again.
//!
//! Must not know the protocol beyond connect.

use super::wire::Wire;
use super::{Checked, Site, expect};
use crate::proc;
use std::time::{Duration, Instant};

/// Time over which the server's CPU is watched.
const WATCH: Duration = Duration::from_secs(2);
/// Share of one core that a server may use while nothing happens.
const FLAT: f64 = 0.15;
const FREED: Duration = Duration::from_secs(10);

/// Fills every slot, asks for more, and watches what the server does.
pub fn full(site: &Site) -> Checked {
    let mut inside = Vec::new();
    let mut refused = 0;
    let mut told = 0;
    // SO_REUSEPORT spreads by hash: twice the slots fill each worker's share.
    for _ in 0..2 * site.slots {
        let mut wire = Wire::open(&site.target)?;
        wire.upgrade("");
        let answer = wire.answer()?;
        match answer.status {
            101 => {
                // One that is no session makes room for the next.
                let answer = wire.ask(r#"{"id":1,"connect":{}}"#)?;
                expect(answer["connect"].is_object(), || format!("connect got {answer}"))?;
                inside.push(wire);
            }
            503 => {
                refused += 1;
                told += usize::from(answer.head.contains("retry-after: "));
            }
            status => return Err(format!("status {status} when full")),
        }
    }
    expect(refused > 0, || format!("{} connections, none refused", inside.len()))?;
    expect(told == refused, || format!("{refused} refused, {told} told when to come back"))?;
    expect(inside.len() <= site.slots, || format!("{} in {} slots", inside.len(), site.slots))?;
    // Connections that wait without a word, more than the slots kept for saying no.
    let waiting: Vec<Wire> =
        (0..400).map(|_| Wire::open(&site.target)).collect::<Result<_, _>>()?;
    let busy = busy(site)?;
    expect(busy < FLAT, || format!("{:.0} % of a core while nothing happens", busy * 100.0))?;
    let taken = inside.len();
    drop(waiting);
    drop(inside);
    let freed = Instant::now();
    while Wire::connected(&site.target).is_err() {
        expect(freed.elapsed() < FREED, || "no slot came back".to_owned())?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(format!("{taken} in, {refused} got 503 with Retry-After, {:.1} % of a core", busy * 100.0))
}

fn busy(site: &Site) -> Result<f64, String> {
    let cpu = || proc::cpu(site.server_pid).map_err(|error| error.to_string());
    let (before, started) = (cpu()?, Instant::now());
    std::thread::sleep(WATCH);
    Ok((cpu()? - before).as_secs_f64() / started.elapsed().as_secs_f64())
}
