//! Values in the bodies of calls: texts, borrowed if possible, raw values, tags.
//!
//! Must not know calls. Invariant: what is over a bound is refused before it is kept.

use super::unfit::Unfit;
use crate::codec::command::{ErrorCode, Tag};
use crate::codec::tags;
use crate::limits::{JSON_DEPTH, TAGS_PER_PUBLICATION};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::{Formatter, Result as Formatted};
use std::marker::PhantomData;

/// A string, borrowed unless it has escapes. Absent and null count as empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut Formatter<'_>) -> Formatted {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'a> Text<'a> {
    /// The text of a field that must not be empty.
    pub fn required(self, field: &'static str) -> Result<Cow<'a, str>, Unfit> {
        if self.0.is_empty() { Err(Unfit::missing(field)) } else { Ok(self.0) }
    }
}

/// Tags in the order of the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiTags<'a>(Vec<Tag<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for ApiTags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = ApiTags<'de>;

            fn expecting(&self, f: &mut Formatter<'_>) -> Formatted {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if tags.len() == TAGS_PER_PUBLICATION {
                        return Err(A::Error::custom("too many tags"));
                    }
                    tags.push((name.0, value.0));
                }
                Ok(ApiTags(tags))
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(ApiTags::default())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl ApiTags<'_> {
    /// Packed, as publications carry them.
    pub fn pack(&self) -> Result<Vec<u8>, Unfit> {
        tags::pack(&self.0).ok_or(Unfit::bad("tags: too many, too long, or one without a name"))
    }
}

/// An object and nothing else: what serde derives would accept an array too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = T;

            fn expecting(&self, f: &mut Formatter<'_>) -> Formatted {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData)).map(Object)
    }
}

/// A value as it was written, `null` included; `None` if absent.
pub fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a body as JSON of this form.
pub fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unfit> {
    let text = simdutf8::basic::from_utf8(body).map_err(|_| Unfit::bad("the body is not UTF-8"))?;
    // The body itself is one level above its values.
    if depth(body) > JSON_DEPTH + 1 {
        return Err(Unfit::bad("a value nests deeper than 64 levels"));
    }
    Ok(object(text)?)
}

/// Reads an object of any depth: values that are not parsed take no stack.
pub fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ErrorCode> {
    let read: Result<Object<T>, _> = serde_json::from_str(text);
    read.map(|Object(read)| read).map_err(|_| ErrorCode::BadRequest)
}

/// Bytes in base64 with padding, RFC 4648 section 4.
pub fn base64(text: &str) -> Result<Vec<u8>, Unfit> {
    STANDARD.decode(text).map_err(|_| Unfit::bad("a b64 field is not base64 with padding"))
}

/// Levels of arrays and objects in valid JSON; for other texts the result is bounded by the length.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
