//! The end of a run that stops its host under load (rule 25), and what must have reached whom by
//! then.
//!
//! Invariant: what was acknowledged is delivered to everybody who was live; then everybody is told
//! 3001.

use super::client::{Phase, Sub};
use super::core::Core;
use super::host::Host;
use crate::contract::engine::Engine;
use crate::transport::Transport;

/// Steps in which a host must have stopped.
const STOP_STEPS: u32 = 2_000_000;

impl<T: Transport, E: Engine> Host<T, E> {
    pub(super) fn shut_down(&mut self) {
        self.remember_live();
        for core in 0..self.cores.len() {
            let now = self.now();
            self.cores[core].stop(now);
            // Not every worker looks at the signal at the same moment.
            for _ in 0..self.random.below(60) {
                self.quiet_step();
            }
        }
        for _ in 0..STOP_STEPS {
            if self.is_broken() {
                return;
            }
            // A worker ends when its connections are gone, and no other needs its home.
            if self.cores.iter().all(Core::has_said) {
                self.cores.iter_mut().filter(|core| core.is_quiet()).for_each(Core::end);
            }
            if self.cores.iter().all(Core::has_ended) && self.is_read() {
                return self.judge_stop();
            }
            if self.is_at_rest() && self.is_read() {
                self.jump();
            }
            if self.random.chance(100) {
                let client = self.random.below(self.clients.len());
                self.with_client(client, |client, around| client.go_on(around));
            }
            self.quiet_step();
        }
        self.ledger.borrow_mut().violation("never_stopped", String::new);
    }

    /// Leaving wipes a client's state; who was live where is what the judgement needs.
    fn remember_live(&mut self) {
        let net = self.net.borrow();
        for client in &mut self.clients {
            client.last_close = None;
            // One that was slow may have been cut amid a frame, and not have read as far yet.
            let cut = client.link.is_some_and(|link| net.links[link].server_gone);
            client.stopping = client.phase == Phase::Connected && !client.dead && !cut;
            for channel in &mut client.channels {
                channel.live_at_stop = channel.sub == Sub::Live;
            }
        }
    }

    fn judge_stop(&mut self) {
        let mut found = Vec::new();
        let ledger = self.ledger.borrow();
        for client in self.clients.iter().filter(|client| client.stopping) {
            let who = format!("client {}.{}", client.index, client.connection);
            match client.last_close {
                Some(3001) => {}
                // It was slow, mute or disconnected before its turn came.
                Some(3008 | 3010 | 3012 | 3503) => continue,
                // One that overflows while what was acknowledged goes out is cut, amid a frame too.
                None if client.slow || client.cut => continue,
                other => found.push(("closed_without_3001", format!("{who}: {other:?}"))),
            }
            for (number, publication) in (0_u32..).zip(&ledger.publications) {
                let state = &client.channels[usize::from(publication.channel)];
                let from = (client.index, client.connection);
                if !self.plan.lossy
                    && state.live_at_stop
                    && publication.acknowledged
                    && publication.submitted > state.live_since
                    && !ledger.is_kept_from(number, from, state.filter)
                    && !client.has_seen(number)
                {
                    let detail = format!("{who}: {number} in {}", publication.channel);
                    found.push(("acknowledged_lost_at_shutdown", detail));
                    break;
                }
            }
        }
        drop(ledger);
        self.judge_sins(&mut found);
        let mut ledger = self.ledger.borrow_mut();
        for (kind, detail) in found {
            ledger.violation(kind, || detail);
        }
        let tops = vec![None; self.plan.channels.len()];
        ledger.judge(&tops);
    }
}
