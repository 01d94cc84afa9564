//! `barrier.json`, which every SDK runs. What it has and this does not know fails.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use undoubt_barrier::{Answer, Barrier, Call, Failure, InProgress, Refused};

use crate::databases::{Database, Placed};
use crate::over_each;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    sequences: Vec<Sequence>,
    headers: Vec<Headers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sequence {
    name: String,
    #[serde(rename = "why")]
    _why: String,
    calls: Vec<Asked>,
    left: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    operation: String,
    #[serde(default = "effect")]
    effect: String,
    #[serde(default)]
    transaction: String,
    #[serde(default)]
    always: bool,
    handler: Option<Handler>,
    expect: Expected,
}

fn effect() -> String {
    "E".to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Handler {
    Result(Value),
    Answer { status: u16, text: String },
    Refuse(String),
    InProgress(String),
    Fail(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: Option<u16>,
    ran: Option<bool>,
    json: Option<Value>,
    text: Option<String>,
    code: Option<String>,
    retry_after: Option<String>,
    recorded: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Headers {
    why: String,
    given: BTreeMap<String, String>,
    expect: ExpectedRefusal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedRefusal {
    status: u16,
    code: String,
    names: String,
}

fn vectors() -> Vectors {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/barrier.json");
    let text = std::fs::read_to_string(file).expect("the vectors are beside this folder");
    serde_json::from_str(&text).expect("nothing in the vectors is new to this SDK")
}

fn act(handler: &Handler) -> Result<Answer, Failure> {
    match handler {
        Handler::Result(Value::Null) => Ok(Answer::done()),
        Handler::Result(result) => Ok(Answer::json(result)?),
        Handler::Answer { status, text } => Ok(Answer::new(*status, text)),
        Handler::Refuse(why) => Err(Refused::new(why).into()),
        Handler::InProgress(why) => Err(InProgress::new(why).into()),
        Handler::Fail(why) => Err(Failure::new(why.as_str())),
    }
}

fn call(asked: &Asked) -> Call {
    // The ids of the vectors have nothing else in them that a header encodes.
    let transaction = asked.transaction.replace('/', "%2F").replace(' ', "%20").replace('ä', "%C3%A4");
    let read = Call::read(|name| match name {
        "undoubt-effect" => Some(asked.effect.as_str()),
        "undoubt-operation" => Some(asked.operation.as_str()),
        "undoubt-transaction" => Some(transaction.as_str()),
        _ => None,
    });
    read.expect("the call can be read")
}

async fn sequences<T: Placed>() {
    let database = Database::make::<T>().await;
    let mut connection = T::open(&database.url).await;
    let sequences = vectors().sequences;
    assert!(!sequences.is_empty());
    for Sequence { name, calls, left, .. } in sequences {
        connection.sql("DELETE FROM undoubt_barrier").await;
        connection.sql("DELETE FROM notes").await;
        for (number, asked) in calls.iter().enumerate() {
            check(&mut connection, asked, &format!("{name}, call {number}")).await;
        }
        let mut notes = Vec::new();
        for (effect, operation) in connection
            .texts("SELECT effect FROM notes ORDER BY id")
            .await
            .into_iter()
            .zip(connection.texts("SELECT operation FROM notes ORDER BY id").await)
        {
            notes.push(format!("{effect} {operation}"));
        }
        assert_eq!(notes, left, "{name}");
    }
}

async fn check<T: Placed>(connection: &mut T, asked: &Asked, name: &str) {
    let expect = &asked.expect;
    if asked.operation == "own" {
        assert_eq!(Some(connection.own(&asked.transaction).await), expect.recorded, "{name}");
        return;
    }
    let barrier = if asked.always { Barrier::new().always() } else { Barrier::new() };
    let mut ran = false;
    let call = call(asked);
    let told = barrier.run(connection, &call, async |work| {
        ran = true;
        T::note(work, &asked.effect, &asked.operation).await?;
        act(asked.handler.as_ref().expect("a handler that runs is described"))
    });
    let answer = told.await.unwrap_or_else(Answer::from);
    let text = String::from_utf8(answer.body).expect("a text");
    assert_eq!(Some(answer.status), expect.status, "{name}: {text}");
    if let Some(expected) = expect.ran {
        assert_eq!(ran, expected, "{name}");
    }
    if let Some(json) = &expect.json {
        assert_eq!(&serde_json::from_str::<Value>(&text).expect("JSON"), json, "{name}");
        assert_eq!(answer.content_type.as_deref(), Some("application/json"), "{name}");
    }
    if let Some(expected) = &expect.text {
        assert_eq!(&text, expected, "{name}");
    }
    if let Some(code) = &expect.code {
        let problem: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&problem["code"], &problem["status"]), (&code.as_str().into(), &answer.status.into()), "{name}");
        assert_eq!(answer.content_type.as_deref(), Some("application/problem+json"), "{name}");
    }
    if let Some(after) = &expect.retry_after {
        assert_eq!(answer.retry_after_s.map(|seconds| seconds.to_string()).as_ref(), Some(after), "{name}");
    }
}

over_each!(sequences);

#[test]
fn headers() {
    let headers = vectors().headers;
    assert!(!headers.is_empty());
    for Headers { why, given, expect } in headers {
        let given: BTreeMap<String, String> = given
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), if value == "<513 x e>" { "e".repeat(513) } else { value }))
            .collect();
        let answer = Call::read(|name| given.get(name).map(String::as_str)).expect_err(&why);
        let problem: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!((answer.status, problem["code"].as_str()), (expect.status, Some(expect.code.as_str())), "{why}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(&expect.names)), "{why}: {problem}");
    }
}

/// The files here are copies, so that the package can be built without its neighbours.
#[test]
fn schemas() {
    for dialect in ["postgresql", "mysql", "sqlite"] {
        let read = |folder: &str| {
            let file = format!("{}/{folder}/schema.{dialect}.sql", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(&file).expect(&file)
        };
        assert_eq!(read("src"), read("../vectors"), "copy schema.{dialect}.sql from coordinator/sdk/vectors");
    }
}
