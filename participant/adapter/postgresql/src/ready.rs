//! Declared statements as the server has described them.

use crate::session::{Unready, type_of};
use crate::value::is_carried;
use tokio_postgres::{Client, Statement};
use undoubt_sql::{Declared, Procedure, Verb};

/// A statement that can be run.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) statement: Statement,
    /// The names of the columns that it returns; empty if it returns no rows.
    pub(crate) columns: Vec<String>,
    pub(crate) verb: Verb,
    /// The number of rows that it has to have, which the server checks: with any other it raises an error, so that what comes after
    /// it in the same trip has no effect.
    pub(crate) rows: Option<u64>,
}

impl Ready {
    /// Has the server parse and describe a statement.
    pub(crate) async fn describe(client: &Client, procedure: &Procedure, at: usize) -> Result<Ready, Unready> {
        let Declared { statement, parameters, rows, .. } = &procedure.statements[at];
        let types: Vec<_> = parameters.iter().map(|place| type_of(procedure.parameters[*place].kind)).collect();
        let sql = statement.numbered();
        let plain = client.prepare_typed(&sql, &types).await?;
        if let Some(column) = plain.columns().iter().find(|column| !is_carried(column.type_())) {
            return Err(Unready::Unfit(format!(
                "column {} is of type {}, which results do not carry; cast it to text",
                column.name(),
                column.type_()
            )));
        }
        let columns: Vec<String> = plain.columns().iter().map(|column| column.name().to_owned()).collect();
        let (verb, rows) = (statement.verb, *rows);
        let statement = match rows {
            None => plain,
            Some(rows) => client.prepare_typed(&checked(&sql, columns.is_empty(), rows), &types).await?,
        };
        Ok(Ready { statement, columns, verb, rows })
    }
}

/// Returns a statement that does the same and raises an error if it has another number of rows.
fn checked(sql: &str, returns_nothing: bool, rows: u64) -> String {
    let (returning, columns) = match returns_nothing {
        true => (" RETURNING 1", "undoubt_check.met FROM undoubt_check"),
        false => ("", "undoubt_rows.* FROM undoubt_check LEFT JOIN undoubt_rows ON undoubt_check.met"),
    };
    // A comment at the end of the statement would take along what follows on its line.
    format!(
        "WITH undoubt_rows AS ({sql}\n{returning}), undoubt_check AS MATERIALIZED (SELECT undoubt.expect((SELECT count(*) FROM \
         undoubt_rows), {rows}) AS met) SELECT {columns}"
    )
}
