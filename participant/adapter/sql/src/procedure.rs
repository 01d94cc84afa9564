//! Procedures, as a participant's owner declares them.

use crate::parameter::ParameterType;
use crate::statement::{Statement, Verb};
use crate::template::Template;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The isolation that a procedure needs. That of a transaction is the highest of its procedures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    #[default]
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    /// Returns its name in SQL.
    pub fn as_sql(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "READ COMMITTED",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::Serializable => "SERIALIZABLE",
        }
    }
}

/// A parameter of a procedure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub kind: ParameterType,
}

/// A statement of a procedure, with what has to come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub statement: Statement,
    /// The procedure's parameters that it takes, in the order of the statement's own.
    pub parameters: Vec<usize>,
    /// The number of rows that it has to return or to write. Any other is a refusal.
    pub rows: Option<u64>,
    /// The sentence of that refusal.
    pub(crate) otherwise: Option<Template>,
    /// The line of the file where it stands.
    pub line: usize,
}

/// A procedure: statements that run in order, in the transaction of the branch or step that calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Procedure {
    pub name: String,
    pub parameters: Vec<Parameter>,
    pub statements: Vec<Declared>,
    pub(crate) locks: Vec<Template>,
    /// The procedure that undoes it, with the same arguments.
    pub undo: Option<String>,
    pub isolation: Isolation,
    /// True if its owner says that nothing is written by it, though it locks rows, which databases count as writing.
    pub(crate) is_said_to_read: bool,
    /// The line of the file where it begins.
    pub line: usize,
}

impl Procedure {
    /// Returns true if it changes nothing: it need not be prepared.
    pub fn only_reads(&self) -> bool {
        self.statements.iter().all(|declared| declared.statement.verb == Verb::Reads)
            && (self.is_said_to_read || !self.locks_rows())
    }

    /// Returns true if it locks rows that it reads.
    pub fn locks_rows(&self) -> bool {
        self.statements.iter().any(|declared| declared.statement.locks_rows)
    }
}

/// The procedures of a participant, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Procedures(pub(crate) BTreeMap<String, Arc<Procedure>>);

impl Procedures {
    /// Returns the procedure of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Procedure>> {
        self.0.get(name)
    }

    /// Returns all, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Procedure>> {
        self.0.values()
    }

    /// Returns true if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
