//! How often a connection may send control frames: a token bucket in eight bytes.

/// Tokens in thousandths, so that a rate per second refills by the millisecond.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlRate {
    spent_thousandths: u32,
    at_ms: u32,
}

impl ControlRate {
    /// Counts one control frame; false if the connection sends too many. A rate of 0 has no limit.
    pub fn take(&mut self, now_ms: u32, per_s: u32, burst: u32) -> bool {
        if per_s == 0 {
            return true;
        }
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = now_ms;
        let refilled = passed_ms.saturating_mul(per_s);
        self.spent_thousandths = self.spent_thousandths.saturating_sub(refilled);
        if self.spent_thousandths + 1_000 > burst.saturating_mul(1_000) {
            return false;
        }
        self.spent_thousandths += 1_000;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut rate = ControlRate::default();
        assert_eq!((0..200).filter(|_| rate.take(1_000, 50, 100)).count(), 100);
        assert_eq!((0..200).filter(|_| rate.take(1_100, 50, 100)).count(), 5);
        assert_eq!((0..200).filter(|_| rate.take(60_000, 50, 100)).count(), 100);
        assert!((0..1_000).all(|_| rate.take(60_000, 0, 0)));
    }
}
