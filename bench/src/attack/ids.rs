//! Client ids of version 0.1 revealed the seed of all tables, and with it names that collide; this
//! tries the same.
//!
//! Must not know the server's code. The arithmetic is that of splitmix64 and of foldhash 0.2.

use super::wire::Wire;
use super::{Checked, Site, expect};
use std::collections::BTreeSet;

/// Connections whose ids are looked at.
const CONNECTIONS: usize = 40;
/// Cores, and places of each, that the attacker tries; generations up to 65,535.
const CORES: u64 = 64;
const PLACES: u64 = 1_000;
/// Bytes of a colliding name.
const NAME: usize = 200;
const ODD: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// No id fits the scheme from which a seed can be computed back, and no half of an id is another's.
pub fn tell_nothing(site: &Site) -> Checked {
    let mut halves = BTreeSet::new();
    let mut wires = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut wire = Wire::upgraded(&site.target)?;
        let answer = wire.ask(r#"{"id":1,"connect":{}}"#)?;
        let id = answer["connect"]["client"].as_str().unwrap_or_default().to_owned();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        expect(lengths == [8, 4, 4, 4, 12], || format!("{id} has not a UUID's form"))?;
        if let Some(seed) = recover(&id) {
            return Err(format!("{id} gives the seed {seed:016x}"));
        }
        let (first, second) = id.split_at(18);
        let new = halves.insert(first.to_owned()) && halves.insert(second.to_owned());
        expect(new, || format!("a half of {id} is another's"))?;
        wires.push(wire);
    }
    Ok(format!("{CONNECTIONS} ids, no seed in any"))
}

/// The number that splitmix64's finaliser makes `x` of.
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

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(ODD[0]);
    x = (x ^ (x >> 27)).wrapping_mul(ODD[1]);
    x ^ (x >> 31)
}

/// The seed from which an id was made, if one explains both halves.
fn recover(id: &str) -> Option<u64> {
    let digits: String = id.chars().filter(|letter| *letter != '-').collect();
    let half = |range| u64::from_str_radix(digits.get(range)?, 16).ok();
    let (high, low) = (half(0..16)?, half(16..32)?);
    let places = (0..CORES).flat_map(|core| (0..PLACES).map(move |index| core << 32 | index));
    let fits = |place: &u64| unmix(low ^ place) ^ high.rotate_left(17) <= u64::from(u16::MAX);
    places.into_iter().find(fits).map(|place| (unmix(high) ^ mix(place)).rotate_right(17))
}

fn fold(x: u64, y: u64) -> u64 {
    let full = u128::from(x) * u128::from(y);
    (full & u128::from(u64::MAX)) as u64 ^ (full >> 64) as u64
}

/// Channel names that have one hash in all 64 bits where foldhash's seed is this one: the word at
/// 64 is what foldhash's first lane holds before it is taken in, so that the lane is zero whatever
/// the word at 96 is.
pub fn colliding(seed: u64, count: usize) -> Vec<String> {
    let start = (fold(seed, 0x4528_21e6_38d0_1377) ^ 0x082e_fa98_ec4e_6c89).rotate_right(200);
    let mut name = [b'a'; NAME];
    name[..6].copy_from_slice(b"plain:");
    let word = |name: &[u8; NAME], at: usize| {
        u64::from_le_bytes(name[at..at + 8].try_into().expect("eight bytes"))
    };
    for guess in 0_u32.. {
        name[32..40].copy_from_slice(format!("{guess:08x}").as_bytes());
        let lane = fold(word(&name, 0) ^ start, word(&name, 32) ^ 0xc0ac_29b7_c97c_50dd);
        if lane.to_le_bytes().iter().all(u8::is_ascii_alphanumeric) {
            name[64..72].copy_from_slice(&lane.to_le_bytes());
            break;
        }
    }
    let names = (0..count).map(|number| {
        name[96..104].copy_from_slice(format!("{number:08}").as_bytes());
        String::from_utf8_lossy(&name).into_owned()
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn the_attack_is_real() {
        let (seed, place) = (0x0123_4567_89ab_cdef_u64, 2_u64 << 32 | 77);
        let high = mix(seed.rotate_left(17) ^ mix(place));
        let low = mix(3 ^ high.rotate_left(17)) ^ place;
        let digits = format!("{high:016x}{low:016x}");
        assert_eq!(recover(&digits), Some(seed));
        assert_eq!(recover("0f1e2d3c-0000-0000-0000-000000000000"), None);
        let foldhash = foldhash::quality::FixedState::with_seed(seed);
        let names = colliding(seed, 1_000);
        let hashes: BTreeSet<u64> = names.iter().map(|name| foldhash.hash_one(name)).collect();
        assert_eq!((names.iter().collect::<BTreeSet<_>>().len(), hashes.len()), (1_000, 1));
    }
}
