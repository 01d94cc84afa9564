//! Errors of PostgreSQL, by their meaning.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity};
use undoubt_sql::Class;

/// The code that a declared condition raises which does not hold.
pub(crate) const NOT_AS_EXPECTED: &str = "UD001";

/// The code that an event raises whose entity has another version than it expects.
pub(crate) const OTHER_VERSION: &str = "UD002";

/// The code of a name of a prepared transaction that is not known.
pub(crate) const UNKNOWN_NAME: &str = "42704";

/// The code of a prepared transaction that another session is just ending.
pub(crate) const BUSY: &str = "55000";

/// Returns what an error means. What is not certain is [`Class::Unknown`].
pub(crate) fn class_of(error: &Error) -> Class {
    match error.as_db_error() {
        // The connection is gone, or what came over it cannot be read.
        None => Class::Unknown,
        // The server ends the session with it.
        Some(db) if is_fatal(db) => class_of_fatal(db.code().code()),
        Some(db) => class_of_code(db.code().code()),
    }
}

/// Returns the code of an error of the server.
pub(crate) fn code_of(error: &Error) -> Option<&str> {
    error.as_db_error().map(|db| db.code().code())
}

fn is_fatal(db: &DbError) -> bool {
    matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
        || matches!(db.severity(), "FATAL" | "PANIC")
}

/// Returns the class of an error that ended a session. A session that was let in hears these codes at its beginning only.
fn class_of_fatal(code: &str) -> Class {
    match code {
        "28000" | "28P01" | "3D000" | "42501" => Class::Access,
        "57P03" | "53300" => Class::Unavailable,
        _ => Class::Unknown,
    }
}

fn class_of_code(code: &str) -> Class {
    match code {
        NOT_AS_EXPECTED | OTHER_VERSION | "P0001" | "44000" | "21000" => Class::Condition,
        "40001" | "40P01" => Class::Conflict,
        "40003" | "57P01" | "57P02" | "57P04" | "57P05" => Class::Unknown,
        "55P03" => Class::LockTimeout,
        "57014" => Class::Cancelled,
        "25006" | "26000" | "3F000" => Class::Declaration,
        "57P03" => Class::Unavailable,
        "3D000" => Class::Access,
        _ => match &code[..code.len().min(2)] {
            "22" | "23" | "54" => Class::Condition,
            "0A" | "42" | "2F" | "34" | "38" | "39" | "P0" => Class::Declaration,
            "53" | "55" => Class::Unavailable,
            "08" => Class::Unknown,
            "28" => Class::Access,
            _ => Class::Failed,
        },
    }
}

/// Returns an error for people: what the server says, with its code.
pub(crate) fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let mut text = format!("{} ({})", db.message(), db.code().code());
            for more in [db.detail(), db.hint()].into_iter().flatten() {
                text.push_str("; ");
                text.push_str(more);
            }
            text
        }
        None => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_meaning_that_was_measured() {
        for (code, class) in [
            ("23505", Class::Condition),
            ("22003", Class::Condition),
            ("UD001", Class::Condition),
            ("UD002", Class::Condition),
            ("42P01", Class::Declaration),
            ("42501", Class::Declaration),
            ("0A000", Class::Declaration),
            ("25006", Class::Declaration),
            ("40001", Class::Conflict),
            ("40P01", Class::Conflict),
            ("55P03", Class::LockTimeout),
            ("57014", Class::Cancelled),
            ("53200", Class::Unavailable),
            ("53100", Class::Unavailable),
            ("55000", Class::Unavailable),
            ("57P01", Class::Unknown),
            ("08006", Class::Unknown),
            ("28P01", Class::Access),
            ("58030", Class::Failed),
            ("XX001", Class::Failed),
            ("", Class::Failed),
        ] {
            assert_eq!(class_of_code(code), class, "{code}");
        }
    }

    #[test]
    fn who_is_told_that_the_session_ends_knows_nothing_of_its_last_statement() {
        for code in ["57P01", "57P02", "53200", "XX000", "40001"] {
            assert_eq!(class_of_fatal(code), Class::Unknown, "{code}");
        }
        assert_eq!(class_of_fatal("28P01"), Class::Access);
        assert_eq!(class_of_fatal("57P03"), Class::Unavailable);
    }
}
