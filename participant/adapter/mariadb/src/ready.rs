//! Declared statements, as far as the server can tell whether they can be run.

use crate::class::told;
use crate::session::Session;
use mysql_async::Error;
use undoubt_sql::{Isolation, Piece, Procedure, Verb};

/// Has the server parse a declared statement. The inner error says what is wrong with it.
pub(crate) async fn describe(
    session: &mut Session,
    procedure: &Procedure,
    at: usize,
) -> Result<Result<(), String>, Error> {
    let statement = &procedure.statements[at].statement;
    if statement.locks_rows
        && shares(&statement.pieces)
        && !procedure.only_reads()
        && procedure.isolation != Isolation::Serializable
    {
        return Ok(Err("it locks rows in share mode, and MariaDB frees such locks when a branch is prepared; write FOR UPDATE, or declare \
                       isolation = \"serializable\""
            .to_owned()));
    }
    let sql = statement.with(|_| "?".to_owned());
    match session.describe(&sql).await {
        Ok(columns) if statement.verb == Verb::Reads && columns.is_empty() => Ok(Err("it returns no rows".to_owned())),
        Ok(_) => Ok(Ok(())),
        Err(error) if error.is_fatal() => Err(error),
        Err(error) => Ok(Err(told(&error))),
    }
}

/// Returns true if a statement that locks rows does so in share mode.
fn shares(pieces: &[Piece]) -> bool {
    let shares = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_uppercase().split_whitespace().any(|word| word == "SHARE"),
        Piece::Parameter(_) => false,
    };
    pieces.iter().any(shares)
}
