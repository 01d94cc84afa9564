//! Faults of declarations.

use std::fmt;

/// A fault of a declaration, with the place where it is to be corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The declaration, like `[[on]] reserve`; empty where the file itself cannot be read.
    pub declaration: String,
    /// The line of the file, counted from 1; `None` where it is not known.
    pub line: Option<usize>,
    /// A sentence that says what is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { declaration, line, what } = self;
        if let Some(line) = line {
            write!(f, "line {line}: ")?;
        }
        if !declaration.is_empty() {
            write!(f, "{declaration}: ")?;
        }
        f.write_str(what)
    }
}

/// All faults that were found at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{fault}")?;
        }
        Ok(())
    }
}

/// Returns the line of a byte's place in a text, counted from 1.
pub(crate) fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1
}
