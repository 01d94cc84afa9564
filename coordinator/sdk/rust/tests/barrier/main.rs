//! The barrier over each driver, and a private server for each.

mod databases;
mod edges;
mod http;
mod ledger;
mod stores;
mod storms;
mod vectors;

/// Runs a test over each driver: a function that is generic over the connection.
macro_rules! over_each {
    ($($test:ident),+ $(,)?) => {
        mod over_tokio_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test::<::tokio_postgres::Client>().await })+
        }
        mod over_sqlx_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test::<::sqlx::PgConnection>().await })+
        }
        mod over_sqlx_mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test::<::sqlx::MySqlConnection>().await })+
        }
        mod over_sqlx_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test::<::sqlx::SqliteConnection>().await })+
        }
    };
}
pub(crate) use over_each;
