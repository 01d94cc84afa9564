//! Declared statements as the server has described them.

use crate::session::{Unready, type_of};
use crate::value::is_carried;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Statement};
use undoubt_sql::{Declared, Procedure, Verb};

/// A statement that a session knows by a name.
#[derive(Clone, Debug)]
pub(crate) struct Named(String);

impl Named {
    /// Returns what has the session forget it.
    pub(crate) fn forget(&self) -> String {
        format!("DEALLOCATE {}", self.0)
    }

    /// Has the server prepare a statement. Types that are not given, the server finds.
    pub(crate) async fn prepare(client: &Client, name: String, types: &[Type], sql: &str) -> Result<Named, Error> {
        let types: Vec<&str> = types.iter().map(Type::name).collect();
        let types = if types.is_empty() { String::new() } else { format!(" ({})", types.join(", ")) };
        // A comment at its end would take along what follows on its line.
        client.batch_execute(&format!("PREPARE {name}{types} AS {sql}\n")).await?;
        Ok(Named(name))
    }

    /// Returns what runs it.
    pub(crate) fn call(&self, literals: &[String]) -> String {
        let Named(name) = self;
        if literals.is_empty() {
            format!("EXECUTE {name}")
        } else {
            format!("EXECUTE {name} ({})", literals.join(", "))
        }
    }
}

/// The form in which a statement is run.
#[derive(Debug)]
pub(crate) enum Form {
    /// By its name, for it returns no rows that anybody reads.
    Named(Named),
    Rows(Statement),
}

/// A statement that can be run.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) form: Form,
    /// The names of the columns that it returns; empty if it returns no rows.
    pub(crate) columns: Vec<String>,
    pub(crate) verb: Verb,
    /// The number of rows that it has to have, which the server checks: with any other it raises an error, so that what comes after
    /// it in the same trip has no effect.
    pub(crate) rows: Option<u64>,
}

impl Ready {
    /// Has the server parse and describe a statement. `name`: one that the session does not know yet.
    pub(crate) async fn describe(
        client: &Client,
        procedure: &Procedure,
        at: usize,
        name: String,
    ) -> Result<Ready, Unready> {
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
        let checked = rows.map(|rows| checked(&sql, columns.is_empty(), rows));
        let form = match (columns.is_empty(), checked) {
            (true, checked) => {
                Form::Named(Named::prepare(client, name, &types, checked.as_deref().unwrap_or(&sql)).await?)
            }
            (false, None) => Form::Rows(plain),
            (false, Some(checked)) => Form::Rows(client.prepare_typed(&checked, &types).await?),
        };
        Ok(Ready { form, columns, verb, rows })
    }
}

/// Returns a statement that does the same and raises an error if it has another number of rows.
fn checked(sql: &str, returns_nothing: bool, rows: u64) -> String {
    let (returning, columns) = match returns_nothing {
        true => (" RETURNING 1", "undoubt_check.met FROM undoubt_check"),
        false => ("", "undoubt_rows.* FROM undoubt_check LEFT JOIN undoubt_rows ON undoubt_check.met"),
    };
    // Here too a comment would take along what follows on its line.
    format!(
        "WITH undoubt_rows AS ({sql}\n{returning}), undoubt_check AS MATERIALIZED (SELECT undoubt.expect((SELECT count(*) FROM \
         undoubt_rows), {rows}) AS met) SELECT {columns}"
    )
}
