//! Members of channels on the wire between nodes: as they are kept, and as joins and leaves tell of
//! them.
//!
//! Layout of a member, little endian: flags u8, length of the user u16, the user; lengths of the
//! connection's info u32 and of the subscription's info u32; then both. The user is first so that a
//! script can find it. A join or leave has before it: kind u8, where publications have a version;
//! 1 for a join, 0 for a leave; node (16 bytes); client id (16 bytes). After it come fields as
//! in publications. Must not know stores. Invariant: what was decoded is a member like those made
//! here.

use super::{Cursor, NodeId, WireError, append_length, text};
use crate::contract::block::CLIENT_BYTES;
use crate::contract::envelope::{Member, Who};
use crate::contract::infos::Infos;
use crate::contract::name::Name;
use crate::contract::presence::Entry;

/// What a join or a leave begins with: no version of publications is that high.
const MEMBERSHIP: u8 = 0x81;

const FLAG_LISTED: u8 = 1;
const FLAG_ANNOUNCED: u8 = 2;

/// A join or a leave that came by the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub node: NodeId,
    pub who: Member,
    pub joined: bool,
}

/// Appends a member; its client id is not in it.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.push(flag(entry.listed, FLAG_LISTED) | flag(entry.announced, FLAG_ANNOUNCED));
    let Member { user, infos, .. } = &entry.member;
    let user = user.as_str().as_bytes();
    let length = u16::try_from(user.len()).expect("a user has such a length");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(user);
    let infos = infos.as_ref();
    let (conn, chan) =
        infos.map_or((&[][..], &[][..]), |infos| (infos.connection(), infos.subscription()));
    append_length(out, conn);
    append_length(out, chan);
    out.extend_from_slice(conn);
    out.extend_from_slice(chan);
}

/// Reads a member of another node.
///
/// # Errors
/// The bytes are none.
pub fn decode(bytes: &[u8], client: [u8; CLIENT_BYTES]) -> Result<Entry, WireError> {
    let mut cursor = Cursor(bytes);
    let entry = member(&mut cursor, client)?;
    cursor.skip_fields()?;
    Ok(entry)
}

fn member(cursor: &mut Cursor<'_>, client: [u8; CLIENT_BYTES]) -> Result<Entry, WireError> {
    let flags = cursor.byte()?;
    let user = usize::from(cursor.u16()?);
    let user = Name::from(text(cursor.take(user)?, "user")?);
    let (conn, chan) = (cursor.u32()? as usize, cursor.u32()? as usize);
    let conn = text(cursor.take(conn)?, "connection's info")?;
    let chan = text(cursor.take(chan)?, "subscription's info")?;
    let infos = Infos::new(conn.as_bytes(), chan.as_bytes());
    let member = Member { who: Who::Elsewhere(client), user, infos };
    // Flags of newer versions say nothing here.
    let (listed, announced) = (flags & FLAG_LISTED != 0, flags & FLAG_ANNOUNCED != 0);
    Ok(Entry { member, listed, announced })
}

/// Appends that a client of this node has joined or left.
pub fn encode_membership(
    entry: &Entry,
    (node, client): (NodeId, [u8; CLIENT_BYTES]),
    joined: bool,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&[MEMBERSHIP, u8::from(joined)]);
    out.extend_from_slice(&node.0);
    out.extend_from_slice(&client);
    encode(entry, out);
}

/// Is it a join or a leave, and not a publication?
#[must_use]
pub fn is_membership(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MEMBERSHIP)
}

/// Reads a join or a leave.
///
/// # Errors
/// The bytes are none.
pub fn decode_membership(bytes: &[u8]) -> Result<Membership, WireError> {
    let mut cursor = Cursor(bytes);
    let kind = cursor.byte()?;
    if kind != MEMBERSHIP {
        return Err(WireError::Version(kind));
    }
    let joined = cursor.byte()? != 0;
    let node = NodeId(cursor.array()?);
    let client = cursor.array()?;
    let who = member(&mut cursor, client)?.member;
    cursor.skip_fields()?;
    Ok(Membership { node, who, joined })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NODE: NodeId = NodeId([1; 16]);
    const CLIENT: [u8; CLIENT_BYTES] = *b"client id, bytes";

    fn entry(infos: Option<Infos>, listed: bool, announced: bool) -> Entry {
        let member = Member { who: Who::Elsewhere(CLIENT), user: "jos\u{e9}".into(), infos };
        Entry { member, listed, announced }
    }

    fn encoded(entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        encode(entry, &mut out);
        out
    }

    #[test]
    fn a_member_comes_back_as_it_went() {
        for infos in [None, Infos::new(b"{\"a\":1}", b""), Infos::new(b"", b"[2]")] {
            for (listed, announced) in [(true, false), (false, true), (true, true)] {
                let entry = entry(infos.clone(), listed, announced);
                let bytes = encoded(&entry);
                assert_eq!(decode(&bytes, CLIENT), Ok(entry.clone()));
                for end in 0..bytes.len() {
                    assert_eq!(decode(&bytes[..end], CLIENT), Err(WireError::Cut), "{end}");
                }
                let more = [bytes, vec![7, 2, 0, 0, 0, 8, 9]].concat();
                assert_eq!(decode(&more, CLIENT), Ok(entry), "a newer node's field is skipped");
            }
        }
        let by_the_page = b"\x03\x05\0jos\xc3\xa9\x07\0\0\0\0\0\0\0{\"a\":1}";
        assert_eq!(encoded(&entry(Infos::new(b"{\"a\":1}", b""), true, true)), by_the_page);
    }

    #[test]
    fn a_join_is_no_publication() {
        let entry = entry(None, true, true);
        for joined in [true, false] {
            let mut bytes = Vec::new();
            encode_membership(&entry, (NODE, CLIENT), joined, &mut bytes);
            assert!(is_membership(&bytes) && super::super::origin(&bytes).is_err());
            let who = entry.member.clone();
            assert_eq!(decode_membership(&bytes), Ok(Membership { node: NODE, who, joined }));
            for end in 0..bytes.len() {
                assert_eq!(decode_membership(&bytes[..end]), Err(WireError::Cut), "{end}");
            }
        }
        assert!(decode_membership(&[1, 0]).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_member_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..80)
        ) {
            let _ = decode(&bytes, CLIENT);
            let _ = decode_membership(&bytes);
        }
    }
}
