//! Lines to whoever runs a program: on a terminal, in a file, through a pipe.
//!
//! `println!` and its kin panic where the other end is closed or full. These do not.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use undoubt_vocabulary::printable_text::clean;

/// Writes a line to standard error, with what steers a terminal escaped. Where it cannot be written there is nobody to
/// tell.
pub fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", clean(&text.to_string()));
}

/// Writes a line to standard output, as it is.
pub fn say(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Returns the same, but that a reader has enough, as with `| head`, is no error.
pub fn unless_reader_left(printed: io::Result<()>) -> io::Result<()> {
    printed.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}
