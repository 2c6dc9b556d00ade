//! Enums that list all of their variants.
//!
//! A separate table of an enum's variants is easily forgotten when the enum grows. `listed!`
//! writes `ALL`, and the names if given, from the same lines as the enum itself, so no variant can
//! be missing. Must not know the enums that use it.

/// Declares an enum without fields, and `ALL` with every variant at the index of its number. If
/// each variant is followed by a text, there is also `name`.
macro_rules! listed {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$of:meta])* $variant:ident = $text:literal,)*
    }) => {
        listed! { $(#[$meta])* pub enum $name { $($(#[$of])* $variant,)* } }

        impl $name {
            /// Its name in logs, metrics and documents.
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
            /// Every variant, at the index of its number.
            pub const ALL: [$name; [$($name::$variant),*].len()] = [$($name::$variant),*];
        }
    };
}
