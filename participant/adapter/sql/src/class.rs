//! Classes of errors: what an error of a database means for a branch or a step.

use undoubt_vocabulary::RefusalCode;

/// The meaning of an error. A refusal is what the data say; a fault goes away by itself; after the unknown somebody has to look.
/// Adapters map the codes of their databases to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The data say no: a constraint, a value that does not fit, a condition that was declared.
    Condition,
    /// The statement cannot be run as it is declared: the schema or a right has changed.
    Declaration,
    /// The database chose this transaction to end a conflict with others.
    Conflict,
    /// A lock was not free in time.
    LockTimeout,
    /// It was called off.
    Cancelled,
    /// The database cannot do it now: no room, no slot, no session; nothing happened.
    Unavailable,
    /// The connection or the server's session ended: it may have happened.
    Unknown,
    /// The participant may not enter: credentials, rights, names of databases.
    Access,
    /// The database itself is not well.
    Failed,
}

impl Class {
    /// Returns how a branch or a step that met it before it was prepared is refused; `None`: it is not a refusal by itself, for
    /// nobody knows what happened.
    pub fn refusal(self) -> Option<RefusalCode> {
        match self {
            Class::Condition => Some(RefusalCode::Condition),
            Class::Declaration => Some(RefusalCode::InvalidWork),
            Class::Conflict => Some(RefusalCode::LockConflict),
            Class::LockTimeout => Some(RefusalCode::LockTimeout),
            Class::Cancelled => Some(RefusalCode::Late),
            Class::Unavailable | Class::Access | Class::Failed => Some(RefusalCode::Unavailable),
            Class::Unknown => None,
        }
    }

    /// Returns true if somebody has to look after it, though work goes on.
    pub fn is_alarming(self) -> bool {
        match self {
            Class::Declaration | Class::Access | Class::Failed | Class::Unavailable => true,
            Class::Condition | Class::Conflict | Class::LockTimeout | Class::Cancelled | Class::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_is_never_a_refusal() {
        assert_eq!(Class::Unknown.refusal(), None);
    }

    #[test]
    fn only_what_the_data_or_the_declaration_says_is_final() {
        let is_final = |class: Class| class.refusal().is_some_and(|code| !code.is_transient());
        assert!(is_final(Class::Condition) && is_final(Class::Declaration));
        for class in
            [Class::Conflict, Class::LockTimeout, Class::Cancelled, Class::Unavailable, Class::Access, Class::Failed]
        {
            assert!(!is_final(class), "{class:?} is worth another try");
        }
    }
}
