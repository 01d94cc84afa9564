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

use crate::Answer;

/// The columns of a row, in the order in which they are read.
macro_rules! columns {
    () => {
        "action_status, action_type, action_body, completion_status, completion_type, completion_body, \
         compensation_status, compensation_type, compensation_body"
    };
}
use columns;

const PURGED_AT_ONCE: i64 = 1_000;

/// What the column of a status has. Only 2xx and 4xx are ever kept.
fn column(status: u16) -> i16 {
    i16::try_from(status).unwrap_or(i16::MAX)
}

/// Returns the answer that three columns stand for.
fn kept(status: Option<i16>, content_type: Option<String>, body: Option<Vec<u8>>) -> Option<Answer> {
    let status = status.and_then(|status| u16::try_from(status).ok())?;
    let content_type = content_type.map(Into::into);
    Some(Answer { status, content_type, body: body.unwrap_or_default(), retry_after_s: None })
}

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
        Ok(kept(columns.try_get(at)?, content_type, columns.try_get(at + 2)?))
    };
    Ok(crate::rules::Row { action: answer(0)?, completion: answer(3)?, compensation: answer(6)? })
}

/// Returns what a database told, if this very error is that. It is among the causes of each `sqlx::Error` that has it.
#[cfg(feature = "sqlx")]
fn told<'e, E: sqlx::error::DatabaseError>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e E> {
    error.downcast_ref::<Box<dyn sqlx::error::DatabaseError>>()?.try_downcast_ref()
}
