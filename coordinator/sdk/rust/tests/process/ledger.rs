//! A service that a test kills: `ledger KIND DATABASE-URL`. It tells its port on standard output.
//!
//! Each call notes its effect and its operation, takes its time, and is answered with a number of its own. What it does besides the path
//! says: `/fails` fails in a third of its runs, `/refuses` refuses a third of the actions, `/dies` ends the process in a third,
//! before the commit, and now and then just after it.

#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../barrier/stores.rs"]
mod stores;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use tokio::net::TcpListener;
use undoubt_barrier::{Answer, Barrier, Call, Error, Failure, Operation, Refused};

use crate::stores::Tested;

const BARRIER: Barrier = Barrier::new().lock_timeout(Duration::from_secs(3));
const WORK: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (kind, url) = (arguments.next().expect("a kind"), arguments.next().expect("a URL"));
    match kind.as_str() {
        "tokio-postgres" => serve::<tokio_postgres::Client>(url).await,
        "sqlx-postgres" => serve::<sqlx::PgConnection>(url).await,
        "sqlx-mariadb" => serve::<sqlx::MySqlConnection>(url).await,
        "sqlx-sqlite" => serve::<sqlx::SqliteConnection>(url).await,
        other => panic!("{other} is no kind"),
    }
}

async fn serve<T: Tested>(url: String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    let router = Router::new().route("/{path}", post(note::<T>)).with_state(Arc::new(url));
    axum::serve(listener, router).await.expect("it serves");
}

async fn note<T: Tested>(
    State(url): State<Arc<String>>,
    Path(path): Path<String>,
    call: Call,
) -> Result<Answer, Error> {
    let mut connection = T::open(&url).await;
    let number = RandomState::new().hash_one(0);
    let is_one_in = |some| number.is_multiple_of(some);
    let answer = BARRIER.run(&mut connection, &call, async |work| {
        T::note(work, &call.effect, call.operation.as_str()).await?;
        tokio::time::sleep(WORK).await;
        match path.as_str() {
            "fails" if is_one_in(3) => Err(Failure::new("a bug")),
            "refuses" if is_one_in(3) && call.operation == Operation::Action => Err(Refused::new("a refusal").into()),
            "dies" if is_one_in(3) => std::process::abort(),
            _ => Ok(Answer::json(&number)?),
        }
    });
    let answer = answer.await;
    if path == "dies" && number % 10 == 1 {
        std::process::abort();
    }
    answer
}
