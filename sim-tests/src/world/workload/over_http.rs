//! The same work for HTTP services: a step is one request, a branch is three.

use crate::run::Op;
use crate::world::service::{Body, url};
use bytes::Bytes;
use serde::Deserialize;
use undoubt_client::work::http::{HttpWork, Method, Request, TRY};
use undoubt_client::{Reference, Results};
use undoubt_vocabulary::TxId;

/// The member of a try's answer that its confirm brings along.
const HOLD: &str = "hold";

/// Returns the work of a branch. Who is alone and only reads has nothing held for it.
pub(super) fn branch(at: u8, tx: &TxId, ops: &[Op], is_alone: bool) -> HttpWork {
    if is_alone && !ops.iter().any(Op::writes) {
        return request(Method::Get, at, tx, ops).into();
    }
    let hold = Body { hold: Some(format!("{{{HOLD}}}")), ..body(tx, &[]) };
    let confirm = with_body(Method::Post, at, &hold).parameter(HOLD, Reference::to_column(TRY, 0, HOLD));
    HttpWork::try_then(step(at, tx, ops), confirm, step(at, tx, &[]))
}

/// Returns the request of a step: of its action, its completion, or, without operations, its compensation.
pub(super) fn step(at: u8, tx: &TxId, ops: &[Op]) -> Request {
    request(Method::Post, at, tx, ops)
}

fn request(method: Method, at: u8, tx: &TxId, ops: &[Op]) -> Request {
    with_body(method, at, &body(tx, ops))
}

fn body(tx: &TxId, ops: &[Op]) -> Body {
    Body { tx: tx.to_string(), ops: ops.to_vec(), hold: None }
}

fn with_body(method: Method, at: u8, body: &Body) -> Request {
    let json = serde_json::to_value(body).expect("a body of these types is written as JSON");
    Request::new(method, &url(at)).json(json)
}

/// Returns what the operations were answered; `None` if that is no answer of a service.
pub(super) fn values(results: &Results) -> Option<Vec<Option<Bytes>>> {
    #[derive(Deserialize)]
    struct Answer {
        values: Vec<Option<String>>,
    }
    let answer: Answer = serde_json::from_slice(&results.answer()?.body).ok()?;
    Some(answer.values.into_iter().map(|value| value.map(Bytes::from)).collect())
}
