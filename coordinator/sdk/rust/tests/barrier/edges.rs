//! What sequences cannot tell: calls at the same time, connections that are cut, handlers that break the rules.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::{Connection as _, MySqlConnection, PgConnection, SqliteConnection};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use undoubt_barrier::{A_WEEK, Answer, Barrier, Call, Error, Operation, Refused};
use undoubt_test_servers::Proxy;

use crate::databases::{Database, Placed, mariadb, postgres};
use crate::over_each;
use crate::stores::Tested;

const BARRIER: Barrier = Barrier::new();
const NOTED: &str = "SELECT operation FROM notes ORDER BY id";

fn call(operation: Operation, effect: &str) -> Call {
    Call { operation, effect: effect.to_owned(), transaction: None, step: None }
}

static ACTION: LazyLock<Call> = LazyLock::new(|| call(Operation::Action, "E"));

/// A handler's own error around a driver's.
#[derive(Debug, thiserror::Error)]
enum NotTaken<E: std::error::Error + 'static> {
    #[error("the seat was not taken")]
    Because(#[source] E),
    #[error(transparent)]
    Database(E),
}

/// Runs an action over a connection of its own that notes itself, says that it is at work, and goes on when it is told.
fn at_work<T: Placed>(database: &Database) -> (oneshot::Receiver<()>, oneshot::Sender<()>, impl Future<Output = u16>) {
    let (begun, is_at_work) = oneshot::channel();
    let (go_on, goes_on) = oneshot::channel();
    let url = database.url.clone();
    let working = async move {
        let mut connection = T::open(&url).await;
        let answer = BARRIER.run(&mut connection, &ACTION, async |work| {
            T::note(work, "E", "action").await?;
            begun.send(()).expect("somebody waits");
            goes_on.await?;
            Ok(Answer::done())
        });
        answer.await.expect("it has an answer").status
    };
    (is_at_work, go_on, working)
}

async fn an_action_and_its_compensation_wait_for_each_other<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    let (is_at_work, go_on, acting) = at_work::<T>(&database);
    let undoing = async {
        is_at_work.await.expect("it works");
        let call = call(Operation::Compensation, "E");
        let undoing = BARRIER.run(&mut connection, &call, async |work| {
            T::note(work, "E", "compensation").await?;
            Ok(Answer::done())
        });
        undoing.await.expect("it has an answer").status
    };
    let going_on = async {
        sleep(Duration::from_millis(300)).await;
        go_on.send(()).expect("it waits");
    };
    assert_eq!(tokio::join!(acting, undoing, going_on), (200, 200, ()));
    assert_eq!(connection.texts(NOTED).await, ["action", "compensation"]);
}

async fn who_waits_too_long_is_told_to_come_again<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    let (is_at_work, go_on, acting) = at_work::<T>(&database);
    let waiting = async {
        is_at_work.await.expect("it works");
        connection.sql(T::PATIENCE).await;
        let barrier = BARRIER.lock_timeout(Duration::from_secs(1));
        let waiting = barrier.run(&mut connection, &ACTION, async |_| panic!("it runs already"));
        let answer =
            timeout(Duration::from_secs(4), waiting).await.expect("it comes in time").expect("it is an answer");
        go_on.send(()).expect("it waits");
        (answer.status, answer.retry_after_s)
    };
    assert_eq!(tokio::join!(acting, waiting), (200, (425, Some(1))));
    let again = BARRIER.run(&mut connection, &ACTION, async |_| panic!("it was done"));
    assert_eq!(again.await.expect("an answer"), Answer::done());
}

async fn a_future_that_is_dropped_rolls_back<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    let never = BARRIER.run(&mut connection, &ACTION, async |work| {
        T::note(work, "E", "action").await?;
        sleep(Duration::from_secs(60)).await;
        Ok(Answer::done())
    });
    timeout(Duration::from_millis(300), never).await.expect_err("it takes a minute");
    assert!(connection.texts(NOTED).await.is_empty());
    let again = BARRIER.run(&mut connection, &ACTION, async |work| {
        T::note(work, "E", "action").await?;
        Ok(Answer::done())
    });
    assert_eq!(again.await.expect("an answer").status, 200);
    assert_eq!(T::open(&database.url).await.texts(NOTED).await, ["action"]);
}

async fn a_handler_that_ends_the_transaction_is_found_out<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    for ending in ["COMMIT", "COMMIT; BEGIN", "ROLLBACK", "ROLLBACK; BEGIN"] {
        let ended = BARRIER.run(&mut connection, &ACTION, async |work| {
            T::act(work, ending).await?;
            Ok(Answer::done())
        });
        assert!(matches!(ended.await, Err(Error::Ended)), "{ending}");
        connection = T::open(&database.url).await;
        assert!(connection.texts("SELECT effect FROM undoubt_barrier WHERE action_status = 200").await.is_empty());
    }
}

async fn a_refusal_for_what_the_database_refused_is_kept<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    connection.sql("INSERT INTO things VALUES ('7A')").await;
    let refusing = BARRIER.run(&mut connection, &ACTION, async |work| {
        let taken = T::act(work, "INSERT INTO things VALUES ('7B'); INSERT INTO things VALUES ('7A')").await;
        taken.map_err(|_| Refused::new("7A is taken"))?;
        Ok(Answer::done())
    });
    let refused = refusing.await.expect("an answer");
    assert_eq!(refused.status, 409);
    assert_eq!(connection.texts("SELECT thing FROM things").await, ["7A"]);
    let again = BARRIER.run(&mut connection, &ACTION, async |_| panic!("it was refused"));
    assert_eq!(again.await.expect("an answer"), refused);
}

async fn what_failed_is_for_the_log_alone<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    let failing = BARRIER
        .run(&mut connection, &ACTION, async |work| Ok(T::act(work, "SELEKT 1").await.map(|()| Answer::done())?));
    let error = failing.await.expect_err("there is no such statement");
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    let answer = Answer::from(error);
    let text = String::from_utf8(answer.body).expect("a text");
    assert_eq!(answer.status, 500);
    assert!(text.contains("rolled back") && !text.contains("SELEKT"), "{text}");
}

async fn old_rows_go<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    for effect in ["old", "new"] {
        let call = call(Operation::Action, effect);
        let answer = BARRIER.run(&mut connection, &call, async |_| Ok(Answer::done())).await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
    connection.sql("UPDATE undoubt_barrier SET touched_at = '2001-01-01 00:00:00' WHERE effect = 'old'").await;
    assert_eq!(BARRIER.purge(&mut connection, A_WEEK).await.expect("it purges"), 1);
    assert_eq!(connection.texts("SELECT effect FROM undoubt_barrier").await, ["new"]);
}

async fn who_does_no_check_back_here_is_told<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    let answer = BARRIER.check_back(&mut connection, &ACTION).await.expect("an answer");
    assert_eq!(answer.status, 400);
    let asked = Call { transaction: Some("order-17".to_owned()), ..call(Operation::CheckBack, "E") };
    assert_eq!(BARRIER.check_back(&mut connection, &asked).await.expect("an answer").status, 409);
    assert!(!connection.own("order-17").await);
}

over_each!(
    an_action_and_its_compensation_wait_for_each_other,
    who_waits_too_long_is_told_to_come_again,
    a_future_that_is_dropped_rolls_back,
    a_handler_that_ends_the_transaction_is_found_out,
    a_refusal_for_what_the_database_refused_is_kept,
    what_failed_is_for_the_log_alone,
    old_rows_go,
    who_does_no_check_back_here_is_told,
);

/// Two handlers that wait for each other: the database gives one of them up, and that one is asked again.
async fn a_deadlock_of_handlers_is_no_failure<T: Placed>(pause: &str) {
    let database = Database::make::<T>().await;
    T::open(&database.url).await.sql("INSERT INTO things VALUES ('a'), ('b')").await;
    let crossing = |first: &str, second: &str| {
        let locking = |thing: &str| format!("UPDATE things SET thing = '{thing}' WHERE thing = '{thing}'");
        let (statements, effect) = (format!("{}; {pause}; {}", locking(first), locking(second)), first.to_owned());
        let url = database.url.clone();
        async move {
            let mut connection = T::open(&url).await;
            let call = call(Operation::Action, &effect);
            let crossing = BARRIER.run(&mut connection, &call, async |work| {
                T::act(work, &statements).await?;
                Ok(Answer::done())
            });
            crossing.await.expect("an answer").status
        }
    };
    let (one, other) = tokio::join!(crossing("a", "b"), crossing("b", "a"));
    assert_eq!((one.min(other), one.max(other)), (200, 425));
}

#[tokio::test]
async fn deadlocks_of_handlers_are_no_failures() {
    a_deadlock_of_handlers_is_no_failure::<tokio_postgres::Client>("SELECT pg_sleep(1)").await;
    a_deadlock_of_handlers_is_no_failure::<PgConnection>("SELECT pg_sleep(1)").await;
    a_deadlock_of_handlers_is_no_failure::<MySqlConnection>("SELECT SLEEP(1)").await;
}

/// An error of the database that a handler has wrapped means what it meant.
#[tokio::test]
async fn contention_is_found_among_the_causes() {
    const CONTENDED: &str = "DO $$ BEGIN RAISE EXCEPTION 'contended' USING ERRCODE = '40001'; END $$";
    let mut told = Vec::new();

    let database = Database::make::<tokio_postgres::Client>().await;
    let mut connection = tokio_postgres::Client::open(&database.url).await;
    for wrap in [NotTaken::Because, NotTaken::Database] {
        let contended = BARRIER.run(&mut connection, &ACTION, async |tx| {
            tx.batch_execute(CONTENDED).await.map_err(wrap)?;
            Ok(Answer::done())
        });
        told.push(contended.await.expect("an answer").status);
    }
    let mut connection = PgConnection::open(&database.url).await;
    for wrap in [NotTaken::Because, NotTaken::Database] {
        let contended = BARRIER.run(&mut connection, &ACTION, async |tx| {
            sqlx::query(CONTENDED).execute(tx).await.map_err(wrap)?;
            Ok(Answer::done())
        });
        told.push(contended.await.expect("an answer").status);
    }
    let database = Database::make::<MySqlConnection>().await;
    let mut connection = MySqlConnection::open(&database.url).await;
    for wrap in [NotTaken::Because, NotTaken::Database] {
        let contended = BARRIER.run(&mut connection, &ACTION, async |tx| {
            let signal = "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213";
            sqlx::raw_sql(signal).execute(tx).await.map_err(wrap)?;
            Ok(Answer::done())
        });
        told.push(contended.await.expect("an answer").status);
    }
    assert_eq!(told, [425; 6]);
}

#[tokio::test]
async fn a_connection_in_a_transaction_is_refused() {
    macro_rules! refused {
        ($connection:ty) => {
            let database = Database::make::<$connection>().await;
            let mut connection = <$connection>::open(&database.url).await;
            let mut open = connection.begin().await.expect("it begins");
            let refused = BARRIER.run(&mut *open, &ACTION, async |_| panic!("it must not run"));
            assert!(matches!(refused.await, Err(Error::Open)));
        };
    }
    refused!(PgConnection);
    refused!(MySqlConnection);
    refused!(SqliteConnection);
}

/// Runs an action whose connection is cut, then again over another. Returns whether the second had to do it.
async fn is_done_again<T: Placed>(through: String, straight: &str) -> bool {
    let mut cut = T::open(&through).await;
    let work = async |work: T::Work<'_>| {
        T::note(work, "E", "action").await?;
        Ok(Answer::done())
    };
    assert!(matches!(BARRIER.run(&mut cut, &ACTION, work).await, Err(Error::Unclear(_))));
    let mut connection = T::open(straight).await;
    let mut ran = false;
    let again = BARRIER.run(&mut connection, &ACTION, async |work| {
        ran = true;
        T::note(work, "E", "action").await?;
        Ok(Answer::done())
    });
    assert_eq!(again.await.expect("an answer").status, 200);
    assert_eq!(connection.texts(NOTED).await, ["action"]);
    ran
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unclear() {
    macro_rules! unclear {
        ($connection:ty, $server:expr, $proxy:expr) => {
            let server = $server;
            let proxy = $proxy(server.address()).await.expect("it listens");
            for (place, is_lost) in [(proxy.before("COMMIT"), true), (proxy.after("COMMIT"), false)] {
                let database = Database::make::<$connection>().await;
                let _trap = place.cut();
                let through = server.url_through(proxy.address(), &database.name);
                assert_eq!(is_done_again::<$connection>(through, &database.url).await, is_lost);
            }
        };
    }
    unclear!(tokio_postgres::Client, postgres().await, Proxy::postgres);
    unclear!(PgConnection, postgres().await, Proxy::postgres);
    unclear!(MySqlConnection, mariadb().await, Proxy::mariadb);
}

/// A call waits for others with the same effect, and for no more. Only SQLite has one lock for all.
#[tokio::test]
async fn other_effects_go_on() {
    async fn go_on<T: Placed>() {
        let database = Database::make::<T>().await;
        let mut connection = T::open(&database.url).await;
        let (is_at_work, go_on, acting) = at_work::<T>(&database);
        let others = async {
            is_at_work.await.expect("it works");
            for number in 0..20 {
                let call = call(Operation::Action, &format!("E{number}"));
                let other = BARRIER.run(&mut connection, &call, async |work| {
                    T::note(work, "other", "action").await?;
                    Ok(Answer::done())
                });
                let answer = timeout(Duration::from_secs(2), other).await.expect("it does not wait");
                assert_eq!(answer.expect("an answer").status, 200);
            }
            go_on.send(()).expect("it waits");
        };
        assert_eq!(tokio::join!(acting, others), (200, ()));
    }
    go_on::<tokio_postgres::Client>().await;
    go_on::<PgConnection>().await;
    go_on::<MySqlConnection>().await;
}
