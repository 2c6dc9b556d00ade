//! Enums that know all of their variants.
//!
//! A table beside an enum is forgotten when the enum grows. `listed!` writes `ALL`, and where they
//! are given the names, from the same lines as the enum itself, so that no variant can be missing.
//! Must not know what is listed.

/// Declares an enum without fields and its `ALL`: every variant, each at the place of its number.
/// With a text behind each variant there is also `name`.
macro_rules! listed {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$of:meta])* $variant:ident = $text:literal,)*
    }) => {
        listed! { $(#[$meta])* pub enum $name { $($(#[$of])* $variant,)* } }

        impl $name {
            /// What it is called where people read it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$of:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// Every one of them, each at the place of its number.
            pub const ALL: [$name; [$($name::$variant),*].len()] = [$($name::$variant),*];
        }
    };
}
