//! In how many ways the deliveries of a channel are framed.
//!
//! Must not know subscribers. Invariant: a variant's index is below `Variant::COUNT`, and tells its
//! codec, form and naming.

use crate::codec::Codec;

/// The form in which a subscriber receives a channel's publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In full.
    Plain,
    /// As deltas; it has the previous publication.
    Delta,
    /// As deltas, but it does not have the previous publication: the next is sent in full.
    Fresh,
}

/// How deliveries are framed for a subscriber: its codec, its form, and whether the channel is
/// named by its name or number. For each variant in a channel a delivery is framed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant(pub(super) u8);

impl Variant {
    /// Number of variants.
    pub const COUNT: usize = Codec::ALL.len() * Variant::FORMS.len() * 2;
    pub(super) const FORMS: [Form; 3] = [Form::Plain, Form::Delta, Form::Fresh];

    #[must_use]
    pub fn new(codec: Codec, form: Form, numbered: bool) -> Variant {
        let form = codec as u8 * Variant::FORMS.len() as u8 + form as u8;
        Variant(form * 2 + u8::from(numbered))
    }

    #[must_use]
    pub fn codec(self) -> Codec {
        Codec::ALL[self.index() / (2 * Variant::FORMS.len())]
    }

    #[must_use]
    pub fn form(self) -> Form {
        Variant::FORMS[self.index() / 2 % Variant::FORMS.len()]
    }

    /// The channel is named by its number.
    #[must_use]
    pub fn is_numbered(self) -> bool {
        self.0 % 2 == 1
    }

    /// The same variant in another form.
    #[must_use]
    pub fn in_form(self, form: Form) -> Variant {
        Variant::new(self.codec(), form, self.is_numbered())
    }

    /// Its index in a table of `COUNT`.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The bits of all variants in the form `Fresh`.
pub(super) const FRESH: u32 = {
    let (mut bits, mut index) = (0, 0);
    while index < Variant::COUNT {
        if index / 2 % Variant::FORMS.len() == Form::Fresh as usize {
            bits |= 1 << index;
        }
        index += 1;
    }
    bits
};
