//! Declared procedures, as far as can be told whether they can be run.

use crate::class::told;
use crate::session::Session;
use crate::value::is_carried;
use mysql_async::Error;
use undoubt_sql::{Declared, Fault, Isolation, Lack, Piece, Procedure, Procedures, Verb};

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

/// Has the server describe the statements of a procedure, without running them. Returns what does not fit.
pub(crate) async fn lacks(session: &mut Session, procedure: &Procedure) -> Result<Vec<Lack>, Error> {
    let mut lacks = Vec::new();
    for (at, declared) in (1..).zip(&procedure.statements) {
        let fault = |what: String| {
            let (procedure, statement, line) = (procedure.name.clone(), Some(at), Some(declared.line));
            Fault { procedure, statement, line, what }.to_string()
        };
        if let Some(what) = unfit(session, procedure, declared).await? {
            let change = "correct the statement, the types of its parameters, or the tables and grants";
            lacks.push(Lack::needed(fault(what), change));
        } else if counts_what_may_change(procedure, declared) {
            let what = "its rows are counted and not locked, so that there may be others at the decision";
            let change = "write FOR UPDATE, or declare isolation = \"serializable\"";
            lacks.push(Lack::advised(fault(what.to_owned()), change));
        }
    }
    Ok(lacks)
}

/// Returns why a statement cannot be run.
async fn unfit(session: &mut Session, procedure: &Procedure, declared: &Declared) -> Result<Option<String>, Error> {
    if is_unheld(procedure, declared) {
        return Ok(Some(UNHELD.to_owned()));
    }
    let statement = &declared.statement;
    let described = match session.describe(&statement.with(|_| "?".to_owned())).await {
        Ok(described) => described,
        Err(error) if error.is_fatal() => return Err(error),
        Err(error) => return Ok(Some(told(&error))),
    };
    let places = statement.pieces.iter().filter(|piece| matches!(piece, Piece::Parameter(_))).count();
    Ok(if described.parameters != places {
        Some(format!(
            "{places} places for parameters are declared, and the server sees {}; look for quotes and comments around a :name",
            described.parameters
        ))
    } else if statement.verb == Verb::Reads && described.columns.is_empty() {
        Some("it returns no rows".to_owned())
    } else {
        let column = described.columns.iter().find(|column| !is_carried(column));
        column
            .map(|column| format!("column {} has a type that results do not carry; cast it to text", column.name_str()))
    })
}

/// Returns true if a vote rests on a number of rows that nothing holds until the decision.
fn counts_what_may_change(procedure: &Procedure, declared: &Declared) -> bool {
    let is_held = procedure.only_reads() || procedure.isolation == Isolation::Serializable;
    let only_looks = declared.statement.verb == Verb::Reads && !declared.statement.locks_rows;
    !is_held && only_looks && declared.rows.is_some()
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
