//! The barrier over each driver.

#[cfg(any(feature = "tokio-postgres", feature = "sqlx-postgres"))]
mod postgresql;
#[cfg(feature = "sqlx-mysql")]
mod sqlx_mysql;
#[cfg(feature = "sqlx-postgres")]
mod sqlx_postgres;
#[cfg(feature = "sqlx-sqlite")]
mod sqlx_sqlite;
#[cfg(feature = "tokio-postgres")]
mod tokio_postgres;

/// The columns of a row, in the order in which they are read.
#[cfg(any(feature = "tokio-postgres", feature = "sqlx"))]
macro_rules! columns {
    () => {
        "action_status, action_type, action_body, completion_status, completion_type, completion_body, \
         compensation_status, compensation_type, compensation_body"
    };
}
#[cfg(any(feature = "tokio-postgres", feature = "sqlx"))]
pub(crate) use columns;

/// Returns the row that the columns of `columns!` stand for.
#[cfg(feature = "sqlx")]
fn row<'r, R>(columns: &'r R) -> Result<crate::rules::Row, sqlx::Error>
where
    R: sqlx::Row,
    usize: sqlx::ColumnIndex<R>,
    Option<i16>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<Vec<u8>>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let answer = |at: usize| -> Result<_, sqlx::Error> {
        Ok(crate::connection::kept(columns.try_get(at)?, columns.try_get(at + 1)?, columns.try_get(at + 2)?))
    };
    Ok(crate::rules::Row { action: answer(0)?, completion: answer(3)?, compensation: answer(6)? })
}
