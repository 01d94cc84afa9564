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
    Option<String>: sqlx::Decode<'r, R::Database>,
    Option<Vec<u8>>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let answer = |at: usize| -> Result<_, sqlx::Error> {
        // Unchecked, because sqlx takes a text for bytes where a database compares texts by them.
        let content_type = columns.try_get_unchecked(at + 1)?;
        Ok(crate::connection::kept(columns.try_get(at)?, content_type, columns.try_get(at + 2)?))
    };
    Ok(crate::rules::Row { action: answer(0)?, completion: answer(3)?, compensation: answer(6)? })
}

/// Returns what a database told, if this very error is that. It is among the causes of each `sqlx::Error` that has it.
#[cfg(feature = "sqlx")]
fn told<'e, E: sqlx::error::DatabaseError>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e E> {
    error.downcast_ref::<Box<dyn sqlx::error::DatabaseError>>()?.try_downcast_ref()
}
