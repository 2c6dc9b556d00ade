//! Deltas (Fossil): the difference between a publication and the previous one, made once at the
//! home.
//!
//! Must not know subscribers. Invariant: the base is the publication that was forwarded last, so
//! every subscriber that has it, in full or by a delta, can apply the next.

use super::patch;
use crate::contract::block::Block;
use crate::limits::DELTA_BYTES;

/// The base of a channel's deltas, while a subscriber wants them.
#[derive(Debug, Default)]
pub struct DeltaBase {
    /// The last forwarded publication; `None` if it was longer than `DELTA_BYTES`.
    last: Option<Block>,
}

impl DeltaBase {
    /// The block with a delta from the previous one, if that is shorter; the next delta will be
    /// from this one. Also returns the steps that the search took.
    pub fn attach(&mut self, block: Block) -> (Block, usize) {
        let kept = (block.data().len() <= DELTA_BYTES).then(|| block.clone());
        let before = std::mem::replace(&mut self.last, kept);
        // An empty base has nothing in common with any text.
        let before = before.filter(|before| !before.data().is_empty());
        let Some(before) = before.filter(|_| block.data().len() <= DELTA_BYTES) else {
            return (block, 0);
        };
        let (patch, steps) = patch::find(before.data(), block.data());
        if patch.len() < block.data().len() {
            return (block.with_delta(&patch), steps);
        }
        (block, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::limits::DELTA_STEPS;
    use proptest::prelude::*;

    const ZERO: Now = Now { monotonic_us: 0, unix_ms: 0 };

    fn attached(base: &mut DeltaBase, data: &[u8]) -> Block {
        base.attach(block(data)).0
    }

    fn block(data: &[u8]) -> Block {
        Block::plain("c", data, ZERO)
    }

    #[test]
    fn the_first_and_what_is_too_long_or_too_new_go_in_full() {
        let mut base = DeltaBase::default();
        let text = "the same words again and again, and once more ".repeat(20);
        let changed = text.replacen("words", "letters", 1);
        assert_eq!(attached(&mut base, text.as_bytes()).delta(), None);
        let second = attached(&mut base, changed.as_bytes());
        let patch = second.delta().expect("most is the same");
        assert!(patch.len() < changed.len() / 4 && second.data() == changed.as_bytes());
        let other: Vec<u8> = (0..900_u32).map(|n| (n * 7919 % 251) as u8 | 32).collect();
        assert_eq!(attached(&mut base, &other).delta(), None, "nothing is the same");
        assert_eq!(attached(&mut base, b"1").delta(), None);
        assert_eq!(attached(&mut base, b"1").delta(), None, "a patch has a head and a sum");
        let long = vec![b'7'; DELTA_BYTES + 1];
        assert_eq!(attached(&mut base, &long).delta(), None);
        assert_eq!(attached(&mut base, &long).delta(), None);
    }

    /// The slowest case of `fossil_delta` and similar searches: a base of similar blocks, and a
    /// text made of their beginnings.
    #[test]
    fn what_is_made_up_is_given_up_early() {
        let block_of = |end: u8| [b"aaaaaaaaaaaaaaa".as_slice(), &[end]].concat();
        let bases = [b"a".repeat(DELTA_BYTES), block_of(b'b').repeat(DELTA_BYTES / 16)];
        let texts = [
            b"a".repeat(DELTA_BYTES),
            b"aaaaaaaaaaaaaaac".repeat(DELTA_BYTES / 16),
            [b"a".repeat(200), b"x".to_vec()].concat().repeat(DELTA_BYTES / 201),
            [b"a".repeat(17), b"b".to_vec()].concat().repeat(DELTA_BYTES / 18),
        ];
        for (base, text) in bases.iter().flat_map(|base| texts.iter().map(move |it| (base, it))) {
            let (patch, steps) = patch::find(base, text);
            assert!(steps <= DELTA_STEPS + DELTA_BYTES / 8, "{steps} steps");
            assert_eq!(fossil_delta::apply(base, &patch).expect("it applies"), *text);
        }
    }

    proptest! {
        #[test]
        fn every_patch_gives_the_text(
            before in "[ab]{0,300}",
            middle in "[ab]{0,100}",
            at in 0_usize..300,
        ) {
            let at = at.min(before.len());
            let data = format!("{}{middle}{}", &before[at..], &before[..at]);
            let (patch, _) = patch::find(before.as_bytes(), data.as_bytes());
            let applied = fossil_delta::apply(before.as_bytes(), &patch).expect("it applies");
            prop_assert_eq!(applied, data.as_bytes());
        }

        #[test]
        fn whoever_applies_them_in_order_has_every_publication(
            parts in prop::collection::vec(("[aé😀\"{}]{0,40}", 0_usize..4, any::<bool>()), 1..12),
        ) {
            let mut base = DeltaBase::default();
            let mut text = "base ".repeat(30);
            let mut client = Vec::new();
            for (part, times, front) in parts {
                let added = part.repeat(times);
                text = if front { format!("{added}{text}") } else { format!("{text}{added}") };
                let sent = attached(&mut base, text.as_bytes());
                client = match sent.delta() {
                    None => sent.data().to_vec(),
                    Some(patch) => fossil_delta::apply(&client, patch).expect("it applies"),
                };
                prop_assert_eq!(&client, text.as_bytes());
                if text.chars().count() > 400 {
                    text = text.chars().skip(200).collect();
                }
            }
        }
    }
}
