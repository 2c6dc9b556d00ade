//! Receives that wait, for a buffer or until the owner has less to do, in the order in which they
//! are armed again.
//!
//! Must not know sockets or buffers. Its invariant: a socket is in one line at most, once; and it
//! comes to the front of its line, however many join the other lines.

use std::collections::VecDeque;

/// Which line a socket waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It was armed because there were buffers, and others were faster.
    Again,
    /// Its last receive took all that the peer had sent.
    Light,
    /// The peer sends faster than it is read.
    Heavy,
}

/// A slot and its generation.
pub type Waiting = (u32, u32);

/// The lines. A socket that asks for little does not wait until hundreds that take all they can
/// get have had their share, and these go on however many ask for little: the two take turns.
#[derive(Debug, Default)]
pub struct Starved {
    again: VecDeque<Waiting>,
    light: VecDeque<Waiting>,
    heavy: VecDeque<Waiting>,
    was_light: bool,
}

impl Starved {
    /// Lines a socket up that is in no line.
    pub fn push(&mut self, line: Line, waiting: Waiting) {
        match line {
            Line::Again => self.again.push_back(waiting),
            Line::Light => self.light.push_back(waiting),
            Line::Heavy => self.heavy.push_back(waiting),
        }
    }

    /// The socket whose turn it is.
    pub fn pop(&mut self) -> Option<Waiting> {
        if let Some(waiting) = self.again.pop_front() {
            return Some(waiting);
        }
        self.was_light = !self.was_light && !self.light.is_empty() || self.heavy.is_empty();
        if self.was_light { self.light.pop_front() } else { self.heavy.pop_front() }
    }

    /// Are all lines empty?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.again.is_empty() && self.light.is_empty() && self.heavy.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_and_heavy_take_turns_behind_those_who_try_again() {
        let mut starved = Starved::default();
        for heavy in 0..4 {
            starved.push(Line::Heavy, (heavy, 0));
        }
        starved.push(Line::Light, (10, 0));
        starved.push(Line::Light, (11, 0));
        starved.push(Line::Again, (20, 0));
        let order: Vec<u32> = std::iter::from_fn(|| starved.pop()).map(|(slot, _)| slot).collect();
        assert_eq!(order, [20, 10, 0, 11, 1, 2, 3]);
        assert!(starved.is_empty());
        starved.push(Line::Light, (12, 0));
        starved.push(Line::Light, (13, 0));
        assert_eq!((starved.pop(), starved.pop()), (Some((12, 0)), Some((13, 0))));
        assert_eq!(starved.pop(), None);
    }
}
