//! Medians, and intervals of medians by resampling. Pure numbers.
//!
//! Must not know what is measured. Invariant: the same numbers give the same interval.

use crate::rng::Rng;
use serde::Serialize;

/// Below so many pairs nothing is concluded: their interval is hardly more than their range.
pub const ROUNDS_FOR_A_VERDICT: usize = 7;
const RESAMPLES: usize = 10_000;
const SEED: u64 = 2026;

/// A median and the interval around it that holds the true one in at least 95 of 100 cases: all of
/// the range at seven pairs, without its ends at nine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub pairs: usize,
}

/// What an interval lets one say about a ratio to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Above,
    Below,
    /// The interval has 1 inside it, or there are too few pairs.
    None,
}

impl Estimate {
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict_at(1.0)
    }

    /// Where the ratio lies to a bound, if the interval is clear of it.
    #[must_use]
    fn verdict_at(&self, bound: f64) -> Verdict {
        if self.pairs < ROUNDS_FOR_A_VERDICT {
            Verdict::None
        } else if self.low > bound {
            Verdict::Above
        } else if self.high < bound {
            Verdict::Below
        } else {
            Verdict::None
        }
    }
}

/// The middle, or the mean of the two in the middle; of nothing, nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[half]),
        _ => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}

/// How many of `pairs` may be left out at either end, so that the rest hold the true median in 95
/// of 100 cases: each lies below it as a coin falls.
fn beyond(pairs: usize) -> usize {
    let (mut left_out, mut outside) = (0, 0.0);
    // Of pairs choose left_out, over 2 to the pairs.
    let mut share = 0.5_f64.powi(i32::try_from(pairs).unwrap_or(i32::MAX));
    loop {
        outside += 2.0 * share;
        if outside > 0.05 {
            return left_out.max(1) - 1;
        }
        share *= (pairs - left_out) as f64 / (left_out + 1) as f64;
        left_out += 1;
    }
}

/// The median of paired ratios with its interval: by resampling, and no narrower than the order of
/// so few allows, for resampling alone promises 95 of 100 and holds 88 at seven. Of nothing,
/// nothing.
#[must_use]
pub fn estimate(ratios: &[f64]) -> Option<Estimate> {
    let middle = median(ratios)?;
    let mut rng = Rng::new(SEED);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let drawn: Vec<f64> = ratios.iter().map(|_| ratios[rng.below(ratios.len())]).collect();
            median(&drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let at = |share: f64| medians[((RESAMPLES - 1) as f64 * share).round() as usize];
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    let beyond = beyond(sorted.len());
    let (first, last) = (sorted[beyond], sorted[sorted.len() - 1 - beyond]);
    let (low, high) = (at(0.025).min(first), at(0.975).max(last));
    Some(Estimate { median: middle, low, high, pairs: ratios.len() })
}

#[test]
fn of_few_pairs_hardly_one_may_be_left_out() {
    // 2 * 2^-n, and so on: tables of the sign test.
    let expected = [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5)];
    for (pairs, left_out) in expected {
        assert_eq!(beyond(pairs), left_out, "{pairs} pairs");
    }
}

#[test]
fn medians_are_in_the_middle() {
    let cases: [(&[f64], Option<f64>); 4] =
        [(&[], None), (&[3.0], Some(3.0)), (&[9.0, 1.0, 2.0], Some(2.0)), (&[4.0, 1.0], Some(2.5))];
    for (values, expected) in cases {
        assert_eq!(median(values), expected, "{values:?}");
    }
}

#[test]
fn an_interval_holds_its_median_and_widens_with_the_noise() {
    let calm = estimate(&[0.90, 0.91, 0.89, 0.90, 0.92, 0.90, 0.91]).expect("numbers");
    let wild = estimate(&[0.50, 1.40, 0.90, 0.70, 1.20, 0.80, 1.00]).expect("numbers");
    for it in [calm, wild] {
        assert!(it.low <= it.median && it.median <= it.high, "{it:?}");
    }
    assert!(calm.high - calm.low < 0.05, "{calm:?}");
    assert!(wild.high - wild.low > 0.3, "{wild:?}");
    assert_eq!((calm.verdict(), wild.verdict()), (Verdict::Below, Verdict::None));
    assert_eq!(calm.verdict_at(0.5), Verdict::Above);
    assert_eq!(calm.verdict_at(0.9), Verdict::None);
}

#[test]
fn few_rounds_carry_no_verdict() {
    let clear = [0.5; ROUNDS_FOR_A_VERDICT];
    assert_eq!(estimate(&clear).expect("numbers").verdict(), Verdict::Below);
    let fewer = estimate(&clear[1..]).expect("numbers");
    assert_eq!(fewer.verdict(), Verdict::None, "{fewer:?}");
}

#[test]
fn an_interval_covers_the_truth_about_as_often_as_it_says() {
    // Ratios around 1 with a symmetric spread: their median is 1.
    let mut rng = Rng::new(7);
    for pairs in [7, 9, 15] {
        let mut covered = 0;
        for _ in 0..400 {
            let ratios: Vec<f64> =
                (0..pairs).map(|_| 0.9 + rng.below(2_001) as f64 / 10_000.0).collect();
            let it = estimate(&ratios).expect("numbers");
            covered += usize::from(it.low <= 1.0 && 1.0 <= it.high);
        }
        // 95 of 100, less three deviations of so many tries; resampling alone holds 350 at seven.
        assert!(covered >= 367, "{pairs} pairs: {covered} of 400");
    }
}
