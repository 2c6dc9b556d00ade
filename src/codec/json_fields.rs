//! Values in a JSON command: absent and empty ones, and the two kinds that nest.
//!
//! Must not know commands. Invariant: recursion ends at `FILTER_DEPTH`, and nothing that is over a
//! bound is kept.

use super::command::{DecodeError, FilterNode, Tag};
use super::scanner::Scanner;
use crate::limits::{FILTER_DEPTH, FILTER_NODES, JSON_DEPTH, TAGS_PER_PUBLICATION};
use std::borrow::Cow;

/// Reads the members of an object with `levels` open containers, including itself.
pub(super) fn members<'a>(
    scanner: &mut Scanner<'a>,
    levels: usize,
    mut member: impl FnMut(&str, &mut Scanner<'a>) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    scanner.begin_object()?;
    let mut first = true;
    while let Some(name) = scanner.next_member(&mut first)? {
        if !member(&name, scanner)? {
            skip(scanner, levels)?;
        }
    }
    Ok(())
}

/// Skips a member's value inside `levels` open containers.
pub(super) fn skip(scanner: &mut Scanner<'_>, levels: usize) -> Result<(), DecodeError> {
    let extent = scanner.value(JSON_DEPTH - levels)?;
    if extent.too_deep { Err(DecodeError::TooDeep) } else { Ok(()) }
}

/// Skips a member's value; true unless it is empty, and so asks for nothing.
pub(super) fn asks(scanner: &mut Scanner<'_>, levels: usize) -> Result<bool, DecodeError> {
    let extent = scanner.value(JSON_DEPTH - levels)?;
    let empty = matches!(extent.bytes, b"null" | b"false" | b"0" | b"\"\"" | b"{}" | b"[]");
    if extent.too_deep { Err(DecodeError::TooDeep) } else { Ok(!empty) }
}

pub(super) fn string<'a>(scanner: &mut Scanner<'a>) -> Result<Cow<'a, str>, DecodeError> {
    if scanner.null()? { Ok(Cow::Borrowed("")) } else { scanner.string() }
}

pub(super) fn boolean(scanner: &mut Scanner<'_>) -> Result<bool, DecodeError> {
    if scanner.null()? { Ok(false) } else { scanner.bool() }
}

pub(super) fn unsigned<T: TryFrom<u64> + Default>(
    scanner: &mut Scanner<'_>,
) -> Result<T, DecodeError> {
    if scanner.null()? {
        return Ok(T::default());
    }
    match scanner.integer()? {
        (true, _) => Err(DecodeError::WrongType),
        (false, magnitude) => T::try_from(magnitude).map_err(|_| DecodeError::WrongType),
    }
}

pub(super) fn signed<T: TryFrom<i128> + Default>(
    scanner: &mut Scanner<'_>,
) -> Result<T, DecodeError> {
    if scanner.null()? {
        return Ok(T::default());
    }
    let (negative, magnitude) = scanner.integer()?;
    let value = i128::from(magnitude);
    T::try_from(if negative { -value } else { value }).map_err(|_| DecodeError::WrongType)
}

/// A filter over tags inside `levels` open containers.
pub(super) fn filter<'a>(
    scanner: &mut Scanner<'a>,
    levels: usize,
    excessive: &mut bool,
) -> Result<Option<FilterNode<'a>>, DecodeError> {
    if scanner.null()? {
        return Ok(None);
    }
    let mut left = FILTER_NODES;
    let node = filter_node(scanner, levels + 1, FILTER_DEPTH, &mut left)?;
    *excessive |= node.is_none();
    Ok(node)
}

/// A node with at most `depth` levels and `left` nodes and values; `None` if it has more.
fn filter_node<'a>(
    scanner: &mut Scanner<'a>,
    levels: usize,
    depth: usize,
    left: &mut usize,
) -> Result<Option<FilterNode<'a>>, DecodeError> {
    if depth == 0 || *left == 0 {
        // It is over its bounds already, so the depth of the rest does not matter.
        scanner.value(JSON_DEPTH - levels)?;
        return Ok(None);
    }
    *left -= 1;
    let mut node = FilterNode::default();
    let mut whole = true;
    members(scanner, levels, |name, scanner| {
        match name {
            "op" => node.op = string(scanner)?,
            "key" => node.key = string(scanner)?,
            "cmp" => node.cmp = string(scanner)?,
            "val" => node.val = string(scanner)?,
            "vals" => elements(scanner, |scanner| {
                let value = string(scanner)?;
                whole &= *left > 0;
                if whole {
                    *left -= 1;
                    node.vals.push(value);
                }
                Ok(())
            })?,
            "nodes" => elements(scanner, |scanner| {
                let child = filter_node(scanner, levels + 2, depth - 1, left)?;
                whole &= child.is_some();
                node.nodes.extend(child);
                Ok(())
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(whole.then_some(node))
}

/// Reads the elements of an array; `null` counts as an empty one.
fn elements<'a>(
    scanner: &mut Scanner<'a>,
    mut element: impl FnMut(&mut Scanner<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    if scanner.null()? {
        return Ok(());
    }
    scanner.begin_array()?;
    let mut first = true;
    while scanner.next_element(&mut first)? {
        element(scanner)?;
    }
    Ok(())
}

/// An object of strings.
pub(super) fn tags<'a>(
    scanner: &mut Scanner<'a>,
    excessive: &mut bool,
) -> Result<Vec<Tag<'a>>, DecodeError> {
    let mut tags = Vec::new();
    if scanner.null()? {
        return Ok(tags);
    }
    scanner.begin_object()?;
    let mut first = true;
    while let Some(name) = scanner.next_member(&mut first)? {
        let value = string(scanner)?;
        *excessive |= tags.len() == TAGS_PER_PUBLICATION;
        if tags.len() < TAGS_PER_PUBLICATION {
            tags.push((name, value));
        }
    }
    Ok(tags)
}
