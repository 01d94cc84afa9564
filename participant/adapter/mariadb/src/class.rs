//! Errors of MariaDB, by their meaning.

use mysql_async::Error;
use undoubt_sql::Class;

/// The code of a name of XA that is not known here, or that another session has.
pub(crate) const NOT_KNOWN: u16 = 1397;

/// The code of a statement about transactions by a user who may not see other users'.
pub(crate) const NO_RIGHT: u16 = 1227;

/// The code of a table that is not there.
pub(crate) const NO_TABLE: u16 = 1146;

/// The code of a session that is not there.
pub(crate) const NO_SESSION: u16 = 1094;

/// Returns what an error means. What is not certain is [`Class::Unknown`].
pub(crate) fn class_of(error: &Error) -> Class {
    match error {
        // The connection is gone, or what came over it cannot be read.
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => Class::Unknown,
        Error::Server(error) => class_of_code(error.code, &error.state),
    }
}

/// Returns the code of an error of the server.
pub(crate) fn code_of(error: &Error) -> Option<u16> {
    match error {
        Error::Server(error) => Some(error.code),
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => None,
    }
}

/// Returns true if there was no room for what was to be written.
pub(crate) fn is_full(error: &Error) -> bool {
    // The last is what a table's engine met, which names the system's own code: no room on the device.
    matches!(code_of(error), Some(1021 | 1114)) || code_of(error) == Some(1030) && told(error).contains("error 28")
}

/// Returns an error for people.
pub(crate) fn told(error: &Error) -> String {
    match error {
        Error::Server(error) => format!("{} ({}, {})", error.message, error.code, error.state),
        Error::Driver(error) => error.to_string(),
        Error::Io(error) => error.to_string(),
        Error::Other(error) => error.to_string(),
        Error::Url(error) => error.to_string(),
    }
}

fn class_of_code(code: u16, state: &str) -> Class {
    match code {
        // A check, a range, a value that is cut off, SIGNAL, several rows where one is meant.
        3819 | 4025 | 1264..=1265 | 1365 | 1406 | 1644 | 1690 | 1242 => Class::Condition,
        // A deadlock, also as XA tells it; a record that has changed since it was read.
        1213 | 1614 | 1020 => Class::Conflict,
        // A lock that was not free in time, or not at once.
        1205 | 1613 | 3572 => Class::LockTimeout,
        // KILL QUERY, and the server's own bounds of time.
        1317 | 1969 | 3024 => Class::Cancelled,
        // Shutting down, killed, or its connection aborted while it worked.
        1053 | 1152 | 1158..=1161 | 1184 | 1927 | 2006 | 2013 => Class::Unknown,
        1044 | 1045 | 1049 | 1129 | 1130 | 1698 | 1862 => Class::Access,
        // Sessions, memory, disk, a server that only reads.
        1021 | 1037 | 1038 | 1040 | 1041 | 1114 | 1135 | 1203 | 1206 | 1226 | 1290 | 1836 | 4031 => Class::Unavailable,
        // Rights, tables, columns, their types and routines that are not what they were; what a transaction of XA may not do.
        1142 | 1143 | 1305 | 1366 | 1370 | 1399 | 1792 => Class::Declaration,
        _ => match state.get(..2).unwrap_or_default() {
            "21" | "22" | "23" | "45" => Class::Condition,
            "42" | "0A" => Class::Declaration,
            "40" => Class::Conflict,
            "08" => Class::Unknown,
            "28" => Class::Access,
            _ => Class::Failed,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_faults_and_the_unknown_are_told_apart() {
        for (code, state, class) in [
            (1062, "23000", Class::Condition),
            (1452, "23000", Class::Condition),
            (4025, "23000", Class::Condition),
            (1264, "22003", Class::Condition),
            (1366, "22007", Class::Declaration),
            (1644, "45000", Class::Condition),
            (1213, "40001", Class::Conflict),
            (1205, "HY000", Class::LockTimeout),
            (1317, "70100", Class::Cancelled),
            (1927, "70100", Class::Unknown),
            (1053, "08S01", Class::Unknown),
            (1045, "28000", Class::Access),
            (1040, "08004", Class::Unavailable),
            (1146, "42S02", Class::Declaration),
            (1054, "42S22", Class::Declaration),
            (1064, "42000", Class::Declaration),
            (1030, "HY000", Class::Failed),
        ] {
            assert_eq!(class_of_code(code, state), class, "{code}");
        }
    }
}
