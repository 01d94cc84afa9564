//! Cars for hire, in Rust with axum and a MariaDB: `cars PORT mysql://root@127.0.0.1/cars`.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use sqlx::{MySqlConnection, MySqlPool};
use std::collections::BTreeMap;
use undoubt_barrier::{Answer, Barrier, Call, Error, Failure, Operation, Refused};

const BARRIER: Barrier = Barrier::new();

const TABLE: &str = "CREATE TABLE IF NOT EXISTS cars (car VARCHAR(64) PRIMARY KEY, effect VARCHAR(512), transaction_id VARCHAR(256), KEY (effect))";

#[derive(Deserialize)]
struct Wanted {
    car: String,
}

async fn cars(State(pool): State<MySqlPool>, call: Call, Json(Wanted { car }): Json<Wanted>) -> Result<Answer, Error> {
    let mut connection = pool.acquire().await?;
    let answer = BARRIER.run(&mut *connection, &call, async |tx| match call.operation {
        Operation::Action => hire(tx, &call, &car).await,
        Operation::Compensation => give_back(tx, &call).await,
        other => Ok(Answer::not_done_here(other)),
    });
    answer.await
}

async fn hire(tx: &mut MySqlConnection, call: &Call, car: &str) -> Result<Answer, Failure> {
    let insert = sqlx::query("INSERT IGNORE INTO cars VALUES (?, ?, ?)");
    let taken = insert.bind(car).bind(&call.effect).bind(&call.transaction).execute(tx).await?;
    if taken.rows_affected() == 0 {
        return Err(Refused::new(format!("car {car} is taken")).into());
    }
    Ok(Answer::json(&json!({ "price": 40 }))?)
}

async fn give_back(tx: &mut MySqlConnection, call: &Call) -> Result<Answer, Failure> {
    sqlx::query("DELETE FROM cars WHERE effect = ?").bind(&call.effect).execute(tx).await?;
    Ok(Answer::done())
}

async fn hired(State(pool): State<MySqlPool>) -> Result<Json<BTreeMap<String, Option<String>>>, Error> {
    let rows = sqlx::query_as("SELECT car, transaction_id FROM cars ORDER BY car").fetch_all(&pool).await?;
    Ok(Json(rows.into_iter().collect()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, url] = arguments.as_slice() else { return Err("usage: cars PORT mysql://…".into()) };
    let pool = MySqlPool::connect(url).await?;
    BARRIER.create_table(&mut *pool.acquire().await?).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    let router = Router::new().route("/cars", post(cars).get(hired)).with_state(pool);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    Ok(axum::serve(listener, router).await?)
}
