//! Prints lines for the user of a command: answers to standard output, errors to standard error.
//! The reader may be gone or the disk full. That changes neither what is done nor the exit code,
//! while the standard library's macros would panic.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard output.
pub fn out(line: impl Display) {
    // If this fails, there is nowhere left to report it.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line on standard error.
pub fn err(line: impl Display) {
    // If this fails, there is nowhere left to report it.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
