//! An application that carries out an open transaction: each step joins, is looked at, and in the end all is closed or cancelled.

use super::{aborted, decided};
use crate::plan::Shape;
use crate::run::{Reply, Work};
use crate::world::workload;
use std::time::Duration;
use undoubt_client::{
    CancelError, Client, CompletionOrder, JoinError, KnownOutcome, OpenSaga, Opening, QueryError, SubmitError,
    WaitError,
};
use undoubt_vocabulary::{Outcome, TxId};

/// Goes as far as it gets; to begin again goes on where it stopped.
pub(super) async fn carry_out(client: &Client, tx: &TxId, work: &Work, shape: &Shape) -> Reply {
    let opening = Opening::with_id(tx.clone()).timeout(Duration::from_millis(shape.timeout_ms));
    let saga = match client.begin(opening).await {
        Ok(saga) => saga,
        Err(error) => return not_joined(client, tx, work, shape, error).await,
    };
    for (step, has_action) in workload::open_steps(tx, work, shape) {
        let joined = if has_action { saga.run(step).await.map(drop) } else { saga.join(step).await.map(drop) };
        match joined {
            Ok(()) => {}
            Err(JoinError::Refused { .. }) => return cancel(&saga).await,
            Err(error) => return not_joined(client, tx, work, shape, error).await,
        }
    }
    match saga.close().await {
        Ok(answer) => decided(&answer, work, shape),
        Err(error) => failed(&error),
    }
}

/// Has each branch join, and closes it, which commits all of them or none.
pub(super) async fn commit(client: &Client, tx: &TxId, work: &Work, shape: &Shape) -> Reply {
    let opening = Opening::with_id(tx.clone()).timeout(Duration::from_millis(shape.timeout_ms));
    let open = match client.begin(opening.completions(CompletionOrder::TwoPhase)).await {
        Ok(open) => open,
        Err(error) => return not_joined(client, tx, work, shape, error).await,
    };
    for branch in workload::open_branches(tx, work, shape) {
        if let Err(error) = open.join(branch).await {
            return not_joined(client, tx, work, shape, error).await;
        }
    }
    match open.close().await {
        Ok(answer) => decided(&answer, work, shape),
        Err(error) => failed(&error),
    }
}

pub(super) async fn cancel(saga: &OpenSaga) -> Reply {
    match saga.cancel().await {
        Ok(known) => of_known(known),
        Err(error @ CancelError::Query(QueryError::NotFound { .. })) => Reply::Refused(error.to_string()),
        Err(error) => Reply::Unknown(error.to_string()),
    }
}

pub(super) async fn not_joined(client: &Client, tx: &TxId, work: &Work, shape: &Shape, error: JoinError) -> Reply {
    match error {
        JoinError::Over { known, .. } if known.decided.is_some() || known.closed => of_known(*known),
        JoinError::Over { .. } => match client.wait(tx).await {
            Ok(answer) => decided(&answer, work, shape),
            Err(error @ WaitError::Query(QueryError::NotFound { .. })) => Reply::Refused(error.to_string()),
            Err(error) => Reply::Unknown(error.to_string()),
        },
        JoinError::Call(error) => failed(&error),
        error @ (JoinError::Refused { .. }
        | JoinError::Unanswered { .. }
        | JoinError::Skipped { .. }
        | JoinError::NoAction { .. }
        | _) => Reply::Unknown(error.to_string()),
    }
}

pub(super) fn of_known(known: KnownOutcome) -> Reply {
    match known.decided {
        None if known.closed => Reply::Nested { closed: true },
        Some(Outcome::Committed) => Reply::Committed(None),
        Some(Outcome::Aborted(reason)) => aborted(&reason),
        None => Reply::Unknown("it is under way".to_owned()),
    }
}

pub(super) fn failed(error: &SubmitError) -> Reply {
    match error {
        SubmitError::Invalid(_)
        | SubmitError::Refused { .. }
        | SubmitError::UnknownParticipant { .. }
        | SubmitError::IdReused { .. }
        | SubmitError::NotOffered { .. } => Reply::Refused(error.to_string()),
        // What was done before stays as it is, until the time is over.
        SubmitError::NotPossible { .. }
        | SubmitError::NotAccepted { .. }
        | SubmitError::OutcomeUnknown { .. }
        | SubmitError::Stuck { .. }
        | SubmitError::Malformed { .. }
        | SubmitError::Unexpected { .. }
        | _ => Reply::Unknown(error.to_string()),
    }
}
