//! A MessagePack reader that reads scalars and keeps the raw extents of values.
//!
//! Must not know commands. Invariants: it never recurses or allocates; a declared length is
//! compared with the available bytes before it is used.

use super::command::DecodeError;
use crate::limits::JSON_DEPTH;
use rmp::Marker;

/// The beginning of a value: scalars and strings whole, containers with their number of elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// Below 0.
    Negative(i64),
    Float(f64),
    /// Text, UTF-8 or not.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Extension,
    /// This many values follow.
    Array(u32),
    /// This many pairs of values follow.
    Map(u32),
}

/// A value that was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent<'a> {
    pub bytes: &'a [u8],
    /// It nests deeper than allowed.
    pub too_deep: bool,
}

/// Takes the next `length` bytes.
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], DecodeError> {
    let (taken, after) = rest.split_at_checked(length).ok_or(DecodeError::Malformed)?;
    *rest = after;
    Ok(taken)
}

/// Takes a number of `N` bytes.
fn number<const N: usize>(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let bytes = take(rest, N)?;
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn signed<const N: usize>(rest: &mut &[u8]) -> Result<Item<'static>, DecodeError> {
    let unused = 64 - 8 * N as u32;
    let value = (number::<N>(rest)? << unused).cast_signed() >> unused;
    Ok(match u64::try_from(value) {
        Ok(value) => Item::Unsigned(value),
        Err(_) => Item::Negative(value),
    })
}

fn length<const N: usize>(rest: &mut &[u8]) -> Result<usize, DecodeError> {
    usize::try_from(number::<N>(rest)?).map_err(|_| DecodeError::Malformed)
}

fn elements<const N: usize>(rest: &mut &[u8]) -> Result<u32, DecodeError> {
    u32::try_from(number::<N>(rest)?).map_err(|_| DecodeError::Malformed)
}

/// Reads one scalar or string, or the beginning of a container.
pub(super) fn item<'a>(rest: &mut &'a [u8]) -> Result<Item<'a>, DecodeError> {
    let marker = Marker::from_u8(number::<1>(rest)? as u8);
    Ok(match marker {
        Marker::Null => Item::Nil,
        Marker::True => Item::Bool(true),
        Marker::False => Item::Bool(false),
        Marker::FixPos(value) => Item::Unsigned(u64::from(value)),
        Marker::FixNeg(value) => Item::Negative(i64::from(value)),
        Marker::U8 => Item::Unsigned(number::<1>(rest)?),
        Marker::U16 => Item::Unsigned(number::<2>(rest)?),
        Marker::U32 => Item::Unsigned(number::<4>(rest)?),
        Marker::U64 => Item::Unsigned(number::<8>(rest)?),
        Marker::I8 => signed::<1>(rest)?,
        Marker::I16 => signed::<2>(rest)?,
        Marker::I32 => signed::<4>(rest)?,
        Marker::I64 => signed::<8>(rest)?,
        Marker::F32 => Item::Float(f64::from(f32::from_bits(number::<4>(rest)? as u32))),
        Marker::F64 => Item::Float(f64::from_bits(number::<8>(rest)?)),
        Marker::FixStr(length) => Item::Text(take(rest, usize::from(length))?),
        Marker::Str8 => sized::<1>(rest).map(Item::Text)?,
        Marker::Str16 => sized::<2>(rest).map(Item::Text)?,
        Marker::Str32 => sized::<4>(rest).map(Item::Text)?,
        Marker::Bin8 => sized::<1>(rest).map(Item::Bytes)?,
        Marker::Bin16 => sized::<2>(rest).map(Item::Bytes)?,
        Marker::Bin32 => sized::<4>(rest).map(Item::Bytes)?,
        Marker::FixArray(length) => Item::Array(u32::from(length)),
        Marker::Array16 => Item::Array(elements::<2>(rest)?),
        Marker::Array32 => Item::Array(elements::<4>(rest)?),
        Marker::FixMap(length) => Item::Map(u32::from(length)),
        Marker::Map16 => Item::Map(elements::<2>(rest)?),
        Marker::Map32 => Item::Map(elements::<4>(rest)?),
        Marker::Reserved => return Err(DecodeError::Malformed),
        extension => {
            let bytes = match extension {
                Marker::FixExt1 => 1,
                Marker::FixExt2 => 2,
                Marker::FixExt4 => 4,
                Marker::FixExt8 => 8,
                Marker::FixExt16 => 16,
                Marker::Ext8 => length::<1>(rest)?,
                Marker::Ext16 => length::<2>(rest)?,
                _ => length::<4>(rest)?,
            };
            // The extension's type comes before its bytes.
            take(rest, bytes.checked_add(1).ok_or(DecodeError::Malformed)?)?;
            Item::Extension
        }
    })
}

fn sized<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = length::<N>(rest)?;
    take(rest, length)
}

/// Skips one value, of at most `levels` nested containers.
pub(super) fn value<'a>(rest: &mut &'a [u8], levels: usize) -> Result<Extent<'a>, DecodeError> {
    let start = *rest;
    // Values left on each level; those that are nested too deeply are only counted.
    let mut open = [0_u64; JSON_DEPTH + 1];
    debug_assert!(levels < open.len());
    let (mut depth, mut too_deep) = (0, false);
    open[0] = 1;
    loop {
        while open[depth] == 0 {
            if depth == 0 {
                let length = start.len() - rest.len();
                return Ok(Extent { bytes: &start[..length], too_deep });
            }
            depth -= 1;
        }
        open[depth] -= 1;
        let inside = match item(rest)? {
            Item::Array(length) => u64::from(length),
            Item::Map(pairs) => 2 * u64::from(pairs),
            Item::Nil
            | Item::Bool(_)
            | Item::Unsigned(_)
            | Item::Negative(_)
            | Item::Float(_)
            | Item::Text(_)
            | Item::Bytes(_)
            | Item::Extension => continue,
        };
        if inside > rest.len() as u64 {
            return Err(DecodeError::Malformed);
        }
        if depth == levels {
            too_deep = true;
            open[depth] += inside;
        } else {
            depth += 1;
            open[depth] = inside;
        }
    }
}
