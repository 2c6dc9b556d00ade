//! What one seed decides of a run with Redis before it begins.
//!
//! Must not know how a run goes. Invariant: it is a function of the seed alone.

use crate::sim::random::Random;

/// How often a copy of a publication is lost or doubled on its way out, in 1,000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copies {
    pub lost: u32,
    pub doubled: u32,
}

/// How often each befalls it, in 1,000 strokes of fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unkindness {
    /// A connection is cut, amid an answer too.
    pub cuts: u32,
    /// Nothing comes through a connection any more, and nobody is told.
    pub deaths: u32,
    /// One direction of a connection is slow for a while.
    pub slows: u32,
    /// The server does nothing for a while.
    pub freezes: u32,
    /// It is killed, and starts with what it had saved, or with nothing.
    pub restarts: u32,
    /// Another takes over, which had not got everything.
    pub failovers: u32,
    /// It refuses what is asked: it is full, busy, cannot save, or has lost its scripts.
    pub refusals: u32,
    /// A stream, or its numbering, is evicted.
    pub evictions: u32,
}

impl Unkindness {
    /// A run's, from what its source draws.
    #[must_use]
    pub fn drawn(random: &mut Random) -> Unkindness {
        if random.chance(250) {
            return Unkindness::default();
        }
        Unkindness {
            cuts: random.pick(&[0, 5, 30]),
            deaths: random.pick(&[0, 0, 3]),
            slows: random.pick(&[0, 20, 100]),
            freezes: random.pick(&[0, 0, 2]),
            restarts: random.pick(&[0, 2, 5]),
            failovers: random.pick(&[0, 0, 3]),
            refusals: random.pick(&[0, 3, 10]),
            evictions: random.pick(&[0, 0, 5]),
        }
    }

    /// May calls come to nothing?
    #[must_use]
    pub fn fails(&self) -> bool {
        let Unkindness { cuts, deaths, slows: _, freezes, restarts, failovers, .. } = *self;
        let refusals = self.refusals + self.evictions;
        cuts + deaths + freezes + restarts + failovers + refusals > 0
    }
}

/// What a run with Redis draws: from a source of its own, so that it does not move the rest.
#[derive(Clone, Copy, Debug)]
pub struct RedisPlan {
    /// The run has one.
    pub is_chosen: bool,
    pub nodes: usize,
    pub copies: Copies,
    /// INFO may not be asked, so that a server that forgot is known by its content alone.
    pub hides_incarnation: bool,
    pub unkindness: Unkindness,
}

impl RedisPlan {
    /// The draw of a seed.
    #[must_use]
    pub fn drawn(seed: u64) -> RedisPlan {
        let mut random = Random::new(seed ^ 0x0000_4ED1_5000);
        RedisPlan {
            is_chosen: random.chance(300),
            nodes: random.pick(&[1, 2, 2, 3]),
            copies: Copies {
                lost: random.pick(&[0, 0, 0, 30, 300]),
                doubled: random.pick(&[0, 0, 30, 300]),
            },
            hides_incarnation: false,
            unkindness: Unkindness::drawn(&mut random),
        }
    }

    /// Time between a bridge's probes, at least: a run watches several bridges for seconds.
    #[must_use]
    pub fn probe_us(&self) -> u64 {
        if self.is_chosen { 250_000 } else { 0 }
    }
}

impl std::fmt::Display for RedisPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Copies { lost, doubled } = self.copies;
        let Unkindness { cuts, deaths, slows, freezes, .. } = self.unkindness;
        let Unkindness { restarts, failovers, refusals, evictions, .. } = self.unkindness;
        write!(
            f,
            "{} hosts, copies lost {lost} doubled {doubled}, cuts {cuts} deaths {deaths} slows \
             {slows} freezes {freezes} restarts {restarts} failovers {failovers} refusals \
             {refusals} evictions {evictions}",
            self.nodes
        )
    }
}
