//! Trips: what is sent to the server at once, and the answers to it.
//!
//! Statements whose rows nobody reads are joined to one message as text, which names what the session has prepared before and gives
//! its arguments as literals. The server answers each message at its end, and stops it at its first error. So most transactions
//! cost one message and one answer, however many statements they have.

use crate::value::Argument;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use std::task::Poll;
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, Statement};

/// One statement of a trip.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// A single statement as text. If it returns rows, they are dropped.
    Text(String),
    /// A declared statement whose rows are read, as long as they have no more bytes than that.
    Rows { statement: &'a Statement, arguments: Vec<Argument<'a>>, most_bytes: usize },
}

/// The answer to one statement.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The number of rows that it touched or returned.
    Count(u64),
    Rows(Vec<Row>),
    /// It returned more bytes than were asked for; they are dropped.
    TooLarge,
}

/// The first statement that failed: its place in the trip, and why.
pub(crate) type FirstError = (usize, Error);

/// Sends all, in order, before it waits for any answer. After an error nothing of the trip took effect that comes after it, and a
/// transaction that was begun waits for its end.
pub(crate) async fn in_one_trip(client: &Client, parts: Vec<Part<'_>>) -> Result<Vec<Answer>, FirstError> {
    let mut messages = messages(client, parts);
    let mut sent = Vec::with_capacity(messages.len());
    for message in &mut messages {
        // The first poll sends it.
        sent.push(match futures::poll!(message.as_mut()) {
            Poll::Ready(answered) => Some(answered),
            Poll::Pending => None,
        });
    }
    let (mut answers, mut failed) = (Vec::new(), None);
    for (message, answered) in messages.into_iter().zip(sent) {
        let answered = match answered {
            Some(answered) => answered,
            None => message.await,
        };
        if failed.is_some() {
            continue;
        }
        answers.extend(answered.answers);
        failed = answered.error.map(|error| (answers.len(), error));
    }
    match failed {
        None => Ok(answers),
        Some(failed) => Err(failed),
    }
}

/// The answers to the statements of one message, up to the first that failed.
struct Answered {
    answers: Vec<Answer>,
    error: Option<Error>,
}

fn messages<'a>(client: &'a Client, parts: Vec<Part<'a>>) -> Vec<BoxFuture<'a, Answered>> {
    let (mut messages, mut joined) = (Vec::new(), String::new());
    let join = |joined: &mut String, messages: &mut Vec<BoxFuture<'a, Answered>>| {
        if !joined.is_empty() {
            messages.push(text(client, std::mem::take(joined)).boxed());
        }
    };
    for part in parts {
        match part {
            Part::Text(sql) => {
                joined.push_str(&sql);
                joined.push(';');
            }
            Part::Rows { statement, arguments, most_bytes } => {
                join(&mut joined, &mut messages);
                let rows = rows(client, statement, arguments, most_bytes);
                messages.push(
                    rows.map(|rows| match rows {
                        Ok(answer) => Answered { answers: vec![answer], error: None },
                        Err(error) => Answered { answers: Vec::new(), error: Some(error) },
                    })
                    .boxed(),
                );
            }
        }
    }
    join(&mut joined, &mut messages);
    messages
}

async fn text(client: &Client, sql: String) -> Answered {
    let mut answers = Vec::new();
    let read = async {
        let mut answered = std::pin::pin!(client.simple_query_raw(&sql).await?);
        while let Some(message) = answered.try_next().await? {
            if let SimpleQueryMessage::CommandComplete(count) = message {
                answers.push(Answer::Count(count));
            }
        }
        Ok(())
    };
    let error = read.await.err();
    Answered { answers, error }
}

async fn rows(
    client: &Client,
    statement: &Statement,
    arguments: Vec<Argument<'_>>,
    most_bytes: usize,
) -> Result<Answer, Error> {
    let mut rows = std::pin::pin!(client.query_raw(statement, arguments).await?);
    let (mut kept, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next().await {
        let row = row?;
        bytes = bytes.saturating_add(row.raw_size_bytes());
        if bytes <= most_bytes {
            kept.push(row);
        } else {
            kept.clear();
        }
    }
    Ok(if bytes > most_bytes { Answer::TooLarge } else { Answer::Rows(kept) })
}
