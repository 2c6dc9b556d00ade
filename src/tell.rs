//! Lines to whoever ran a command: answers on standard output, errors on standard error. Whoever
//! reads there may be gone, or the disk full: that changes neither what is done nor its exit code.
//! The standard library's own macros panic then.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard output.
pub fn out(line: impl Display) {
    // There is nobody else to tell.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line on standard error.
pub fn err(line: impl Display) {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
