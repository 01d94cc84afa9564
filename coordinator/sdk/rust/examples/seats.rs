//! A service with a database of its own that takes seats and gives them back: `seats PORT FILE.db`.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use sqlx::{SqliteConnection, SqlitePool};
use undoubt_barrier::{Answer, Barrier, Call, Error, Failure, Operation, Refused};

const BARRIER: Barrier = Barrier::new();

#[derive(Deserialize)]
struct Asked {
    seat: String,
}

async fn seats(State(pool): State<SqlitePool>, call: Call, Json(Asked { seat }): Json<Asked>) -> Result<Answer, Error> {
    let mut connection = pool.acquire().await?;
    let answer = BARRIER.run(&mut *connection, &call, async |tx| match call.operation {
        Operation::Action => take(tx, &call, &seat).await,
        Operation::Compensation => give_back(tx, &call).await,
        other => Ok(Answer::not_done_here(other)),
    });
    answer.await
}

async fn take(tx: &mut SqliteConnection, call: &Call, seat: &str) -> Result<Answer, Failure> {
    let insert = sqlx::query("INSERT OR IGNORE INTO seats VALUES (?, ?)");
    let taken = insert.bind(seat).bind(&call.effect).execute(tx).await?;
    if taken.rows_affected() == 0 {
        return Err(Refused::new(format!("{seat} is taken")).into());
    }
    Ok(Answer::json(&json!({ "seat": seat, "price": 30 }))?)
}

async fn give_back(tx: &mut SqliteConnection, call: &Call) -> Result<Answer, Failure> {
    sqlx::query("DELETE FROM seats WHERE effect = ?").bind(&call.effect).execute(tx).await?;
    Ok(Answer::done())
}

async fn taken(State(pool): State<SqlitePool>) -> Result<Json<Vec<String>>, Error> {
    Ok(Json(sqlx::query_scalar("SELECT seat FROM seats ORDER BY seat").fetch_all(&pool).await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, file] = arguments.as_slice() else { return Err("usage: seats PORT FILE.db".into()) };
    let pool = SqlitePool::connect(&format!("sqlite://{file}?mode=rwc")).await?;
    BARRIER.create_table(&mut *pool.acquire().await?).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS seats (seat TEXT PRIMARY KEY, effect TEXT)").execute(&pool).await?;
    let router = Router::new().route("/seats", post(seats).get(taken)).with_state(pool);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    Ok(axum::serve(listener, router).await?)
}
