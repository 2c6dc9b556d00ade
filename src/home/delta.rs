//! Deltas (Fossil): what of a publication is new against the one before, made once at the home.
//!
//! Must not know subscribers. Invariant: the base is the publication that was forwarded last, so
//! whoever got that one in full, or as a delta, can apply the next.

use crate::contract::block::Block;
use crate::limits::DELTA_BYTES;

/// The delta of a channel, while somebody wants it.
#[derive(Debug, Default)]
pub struct DeltaBase {
    /// The publication forwarded last, as it came; none when it was longer than `DELTA_BYTES`.
    last: Option<Block>,
}

impl DeltaBase {
    /// The block with a delta against the one before, where there is one that is worth it; the next
    /// delta will be against this one.
    pub fn attach(&mut self, block: Block) -> Block {
        let kept = (block.data().len() <= DELTA_BYTES).then(|| block.clone());
        let before = std::mem::replace(&mut self.last, kept);
        match before.and_then(|before| patch(before.data(), block.data())) {
            Some(patch) => block.with_delta(&patch),
            None => block,
        }
    }
}

/// What turns `before` into `data`; none when it would not be shorter, or `data` is longer than
/// `DELTA_BYTES`, because finding it takes time that grows with both.
fn patch(before: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    // From nothing everything is new.
    if data.len() > DELTA_BYTES || before.is_empty() {
        return None;
    }
    let mut patch = Vec::with_capacity(data.len());
    fossil_delta::generate_delta(data, before, &mut patch);
    debug_assert!(fossil_delta::apply(before, &patch).is_ok_and(|applied| applied == data));
    (patch.len() < data.len()).then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use proptest::prelude::*;

    const ZERO: Now = Now { monotonic_us: 0, unix_ms: 0 };

    fn block(data: &[u8]) -> Block {
        Block::plain("c", data, ZERO)
    }

    #[test]
    fn the_first_and_what_is_too_long_or_too_new_go_in_full() {
        let mut base = DeltaBase::default();
        let text = "the same words again and again, and once more ".repeat(20);
        let changed = text.replacen("words", "letters", 1);
        assert_eq!(base.attach(block(text.as_bytes())).delta(), None);
        let second = base.attach(block(changed.as_bytes()));
        let patch = second.delta().expect("most is the same");
        assert!(patch.len() < changed.len() / 4 && second.data() == changed.as_bytes());
        let other: Vec<u8> = (0..900_u32).map(|n| (n * 7919 % 251) as u8 | 32).collect();
        assert_eq!(base.attach(block(&other)).delta(), None, "nothing is the same");
        assert_eq!(base.attach(block(b"1")).delta(), None);
        assert_eq!(base.attach(block(b"1")).delta(), None, "a patch has a head and a sum");
        let long = vec![b'7'; DELTA_BYTES + 1];
        assert_eq!(base.attach(block(&long)).delta(), None);
        assert_eq!(base.attach(block(&long)).delta(), None);
    }

    proptest! {
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
                let sent = base.attach(block(text.as_bytes()));
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
