//! Tags of a publication, packed: pairs of strings that cross cores and codecs without being
//! unpacked.
//!
//! Layout of a pair: length of the name u16, length of the value u16, both little endian, name,
//! value. Invariant: `Tags` holds whole pairs of valid UTF-8, because `pack` made them or `checked`
//! looked.

use std::borrow::Cow;

const HEAD: usize = 4;

/// One tag as read by a codec: name and value.
pub type Tag<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Packed tags, read in place.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Tags<'a>(&'a [u8]);

impl<'a> Tags<'a> {
    /// Reads what `pack` wrote.
    #[must_use]
    pub fn packed(bytes: &'a [u8]) -> Tags<'a> {
        Tags(bytes)
    }

    /// The same of bytes from elsewhere; `None` if they are not whole pairs of texts.
    #[must_use]
    pub fn checked(bytes: &'a [u8]) -> Option<Tags<'a>> {
        let tags = Tags(bytes);
        let read: usize = tags.iter().map(|(name, value)| HEAD + name.len() + value.len()).sum();
        (read == bytes.len()).then_some(tags)
    }

    /// The packed form.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The value of a tag.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Names and values, in the order in which they were given.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (head, after) = rest.split_at_checked(HEAD)?;
            let name = usize::from(u16::from_le_bytes([head[0], head[1]]));
            let value = usize::from(u16::from_le_bytes([head[2], head[3]]));
            let (name, after) = after.split_at_checked(name)?;
            let (value, after) = after.split_at_checked(value)?;
            rest = after;
            Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
        })
    }
}

impl std::fmt::Debug for Tags<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Packs tags; if a name appears twice the last one counts. `None` if a name or a value is longer
/// than 65,535 bytes.
#[must_use]
pub fn pack(tags: &[Tag<'_>]) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    for (at, (name, value)) in tags.iter().enumerate() {
        if tags[at + 1..].iter().any(|(later, _)| later == name) {
            continue;
        }
        packed.extend_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
        packed.extend_from_slice(&u16::try_from(value.len()).ok()?.to_le_bytes());
        packed.extend_from_slice(name.as_bytes());
        packed.extend_from_slice(value.as_bytes());
    }
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts() {
        let tags = [("a", "1"), ("b", ""), ("a", "é")].map(|(k, v)| (k.into(), v.into()));
        let packed = pack(&tags).expect("short enough");
        let tags = Tags::packed(&packed);
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("b", ""), ("a", "é")]);
        assert_eq!((tags.get("a"), tags.get("c")), (Some("é"), None));
        assert!(Tags::default().is_empty() && Tags::default().get("").is_none());
        assert_eq!(Tags::checked(&packed), Some(tags));
        for end in [1, HEAD, packed.len() - 1] {
            assert_eq!(Tags::checked(&packed[..end]), None, "{end}");
        }
        let long = "x".repeat(65_536);
        assert_eq!(pack(&[("a".into(), long.as_str().into())]), None);
    }
}
