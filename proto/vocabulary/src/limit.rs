//! A bound that a user can meet, as `proto/LIMITS.md` tells it. Each crate has a table of its own, `LIMITS`, that refers to its
//! constants.

/// A bound that no setting changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name of the constant.
    pub name: &'static str,
    pub value: u64,
    pub unit: Unit,
    /// The thing that is bounded.
    pub of: &'static str,
    /// The answer, or the consequence, where it is met.
    pub met: &'static str,
}

/// The unit of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    /// A number of what the bound is of.
    Count,
    Milliseconds,
}

impl Unit {
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes",
            Unit::Count => "",
            Unit::Milliseconds => "ms",
        }
    }
}

/// Makes the entry of a constant that is a number, or of one that is a duration (`ms`).
#[macro_export]
macro_rules! limit {
    (ms $name:ident, $of:literal, $met:literal) => {
        $crate::limit::Limit {
            name: stringify!($name),
            value: $name.as_millis() as u64,
            unit: $crate::limit::Unit::Milliseconds,
            of: $of,
            met: $met,
        }
    };
    ($unit:ident $name:ident, $of:literal, $met:literal) => {
        $crate::limit::Limit {
            name: stringify!($name),
            value: $name as u64,
            unit: $crate::limit::Unit::$unit,
            of: $of,
            met: $met,
        }
    };
}
