//! Client ids beside those of before, and what an attacker made of those: the seed of all tables,
//! and names that collide.
//!
//! Invariant: the attack is shown to work on the old scheme before it is turned on the new.

use super::*;
use crate::hashing::Keyed;
use foldhash::quality::FixedState;
use std::collections::BTreeSet;
use std::hash::BuildHasher;

fn keys() -> impl Iterator<Item = ConnectionKey> {
    let cores = (0..4).flat_map(|core| (0..50).map(move |index| (core, index)));
    cores.flat_map(|(core, index)| {
        (0..50).map(move |generation| ConnectionKey { core, index, generation })
    })
}

#[test]
fn ids_do_not_meet_nor_repeat_by_half() {
    let ids = ClientIds::new(Key::of(7));
    let (mut seen, mut halves) = (BTreeSet::new(), BTreeSet::new());
    for key in keys() {
        let id = ids.of(key).as_str().to_owned();
        assert_eq!(id, ids.of(key).as_str(), "it is derived");
        let (first, second) = id.split_at(18);
        assert!(halves.insert(first.to_owned()) && halves.insert(second.to_owned()), "{id}");
        assert!(seen.insert(id.clone()), "twice: {id}");
    }
    let key = ConnectionKey { core: 1, index: 2, generation: 3 };
    let id = ids.of(key);
    assert_ne!(ClientIds::new(Key::of(8)).of(key), id);
    let groups: Vec<usize> = id.as_str().split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "a UUID's form");
}

/// Client ids as they were up to version 0.1, and what an attacker made of one.
mod before {
    use super::*;

    const ODD: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

    fn mix(mut x: u64) -> u64 {
        x = (x ^ (x >> 30)).wrapping_mul(ODD[0]);
        x = (x ^ (x >> 27)).wrapping_mul(ODD[1]);
        x ^ (x >> 31)
    }

    /// The number that `mix` makes `x` of.
    fn unmix(mut x: u64) -> u64 {
        let inverse = |odd: u64| {
            (0..6).fold(1_u64, |inverse, _| {
                inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)))
            })
        };
        x = x ^ (x >> 31) ^ (x >> 62);
        x = x.wrapping_mul(inverse(ODD[1]));
        x = x ^ (x >> 27) ^ (x >> 54);
        x = x.wrapping_mul(inverse(ODD[0]));
        x ^ (x >> 30) ^ (x >> 60)
    }

    pub fn id(master: u64, key: ConnectionKey) -> ClientId {
        let place = u64::from(key.core) << 32 | u64::from(key.index);
        let high = mix(master.rotate_left(17) ^ mix(place));
        let low = mix(u64::from(key.generation) ^ high.rotate_left(17)) ^ place;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        ClientId::from(bytes)
    }

    /// The master seed behind an id, and whose the id is: among the first places of each core, one
    /// guess fits both halves.
    pub fn recover(id: &ClientId) -> Option<(u64, ConnectionKey)> {
        let digits: String = id.as_str().chars().filter(|letter| *letter != '-').collect();
        let half = |range| u64::from_str_radix(&digits[range], 16).expect("it is hexadecimal");
        let (high, low) = (half(0..16), half(16..32));
        for (core, index) in (0..64_u16).flat_map(|core| (0..1_000).map(move |at| (core, at))) {
            let place = u64::from(core) << 32 | u64::from(index);
            let generation = unmix(low ^ place) ^ high.rotate_left(17);
            if let Ok(generation) = u32::try_from(generation) {
                let master = (unmix(high) ^ mix(place)).rotate_right(17);
                return Some((master, ConnectionKey { core, index, generation }));
            }
        }
        None
    }

    /// The seed of the table of channels at home on a core.
    pub fn table_seed(master: u64, core: u16) -> u64 {
        (master ^ (u64::from(core) + 1).wrapping_mul(GOLDEN)).rotate_left(32)
    }

    fn fold(x: u64, y: u64) -> u64 {
        let full = u128::from(x) * u128::from(y);
        (full as u64) ^ (full >> 64) as u64
    }

    /// Channel names of 200 letters that have one hash in all 64 bits under this seed. The word at
    /// 64 is what foldhash's first lane holds before it is taken in: it becomes zero, and times the
    /// word at 96 stays zero, whatever that is.
    pub fn colliding(seed: u64, count: usize) -> Vec<String> {
        let start = (fold(seed, 0x4528_21e6_38d0_1377) ^ 0x082e_fa98_ec4e_6c89).rotate_right(200);
        let mut name = [b'a'; 200];
        let word = |name: &[u8; 200], at: usize| {
            u64::from_le_bytes(name[at..at + 8].try_into().expect("eight bytes"))
        };
        for guess in 0_u32.. {
            name[32..40].copy_from_slice(format!("{guess:08x}").as_bytes());
            let lane = fold(word(&name, 0) ^ start, word(&name, 32) ^ 0xc0ac_29b7_c97c_50dd);
            if lane.to_le_bytes().iter().all(u8::is_ascii_graphic) {
                name[64..72].copy_from_slice(&lane.to_le_bytes());
                break;
            }
        }
        let names = (0..count).map(|number| {
            name[96..104].copy_from_slice(format!("{number:08}").as_bytes());
            String::from_utf8(name.to_vec()).expect("it is a name")
        });
        names.collect()
    }
}

#[test]
fn an_id_leads_to_no_key_and_no_colliding_names() {
    let master = 0x0123_4567_89ab_cdef;
    let of = ConnectionKey { core: 3, index: 812, generation: 5 };
    // Before: one id gave the master seed, and the seed names that collide.
    let (found, whose) = before::recover(&before::id(master, of)).expect("the attack works");
    assert_eq!((found, whose), (master, of));
    let names = before::colliding(before::table_seed(found, 1), 60_000);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    let table = FixedState::with_seed(before::table_seed(master, 1));
    let hashes: BTreeSet<u64> = names.iter().map(|name| table.hash_one(name)).collect();
    assert_eq!(hashes.len(), 1, "one hash for all of them");
    // Now: an id of any connection fits no guess, and the names are like any others.
    let ids = ClientIds::new(Key::of(u128::from(master)));
    let mut fits = 0;
    for key in keys().step_by(97) {
        fits += u32::from(before::recover(&ids.of(key)).is_some());
    }
    assert_eq!(fits, 0, "no seed explains an id");
    let table = Keyed::new(Key::of(u128::from(master)));
    let hashes: BTreeSet<u64> = names.iter().map(|name| table.hash_one(name)).collect();
    assert_eq!(hashes.len(), names.len());
}
