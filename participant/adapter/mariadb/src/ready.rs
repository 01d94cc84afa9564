//! Declared statements, as far as can be told whether they can be run.

use crate::class::told;
use crate::session::Session;
use mysql_async::Error;
use undoubt_sql::{Declared, Fault, Isolation, Piece, Procedure, Procedures, Verb};

/// Returns the first statement that does not hold what a vote rests on: MariaDB frees locks in share mode when a branch is prepared,
/// unless it is serializable.
pub(crate) fn first_unheld(procedures: &Procedures) -> Option<Fault> {
    procedures.iter().find_map(|procedure| {
        (1..).zip(&procedure.statements).find(|(_, declared)| is_unheld(procedure, declared)).map(|(at, declared)| {
            Fault {
                procedure: procedure.name.clone(),
                statement: Some(at),
                line: Some(declared.line),
                what: UNHELD.to_owned(),
            }
        })
    })
}

const UNHELD: &str = "it locks rows in share mode, and MariaDB frees such locks when a branch is prepared; write FOR UPDATE, or declare \
     isolation = \"serializable\"";

fn is_unheld(procedure: &Procedure, declared: &Declared) -> bool {
    let holds_otherwise = procedure.only_reads() || procedure.isolation == Isolation::Serializable;
    !holds_otherwise && shares(declared)
}

/// Returns true if a procedure locks rows in share mode.
pub(crate) fn shares_rows(procedure: &Procedure) -> bool {
    procedure.statements.iter().any(shares)
}

/// Has the server parse a declared statement. The inner error says what is wrong with it.
pub(crate) async fn describe(
    session: &mut Session,
    procedure: &Procedure,
    at: usize,
) -> Result<Result<(), String>, Error> {
    let declared = &procedure.statements[at];
    if is_unheld(procedure, declared) {
        return Ok(Err(UNHELD.to_owned()));
    }
    match session.describe(&declared.statement.with(|_| "?".to_owned())).await {
        Ok(columns) if declared.statement.verb == Verb::Reads && columns.is_empty() => {
            Ok(Err("it returns no rows".to_owned()))
        }
        Ok(_) => Ok(Ok(())),
        Err(error) if error.is_fatal() => Err(error),
        Err(error) => Ok(Err(told(&error))),
    }
}

/// Returns true if a statement locks rows in share mode.
fn shares(declared: &Declared) -> bool {
    let shares = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_uppercase().split_whitespace().any(|word| word == "SHARE"),
        Piece::Parameter(_) => false,
    };
    declared.statement.locks_rows && declared.statement.pieces.iter().any(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_sql::Dialect;

    #[test]
    fn what_a_vote_rests_on_has_to_be_held() {
        let declared = |more: &str, first: &str| {
            let text = format!(
                "[procedure.p]\n{more}\nstatements = [\n{{ sql = \"{first}\" }},\n{{ sql = \"UPDATE t SET a = 1\" }},\n]\n"
            );
            first_unheld(&Procedures::read(&text, Dialect::MariaDb).unwrap()).map(|fault| fault.to_string())
        };
        let shared = "SELECT a FROM t LOCK IN SHARE MODE";
        let fault = declared("", shared).unwrap();
        assert!(fault.starts_with("line 4: procedure p, statement 1: it locks rows in share mode"), "{fault}");
        assert!(declared("", "SELECT a FROM t FOR SHARE").is_some());
        assert_eq!(declared("isolation = \"serializable\"", shared), None);
        assert_eq!(declared("", "SELECT a FROM t FOR UPDATE"), None);
        assert_eq!(declared("", "SELECT share FROM t"), None);
    }
}
