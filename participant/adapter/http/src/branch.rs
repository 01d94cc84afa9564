//! Branches of two-phase commit as three calls: try, and confirm or cancel (TCC).
//!
//! ```text
//!             ┌─(done)─▶ Prepared ──▶ confirm ─(done)─▶ committed
//! ──▶ Trying ─┤             └──(abort)──▼
//!             ├─(unclear, crash)──▶ Cancelling ──▶ cancel ─(done)─▶ aborted
//!             └─(refused)─▶ nothing
//! ```
//!
//! A branch that is alone decides by itself: where another is prepared it is *confirming*. Nobody is told before its confirm is answered, so that one
//! which is refused for good can be cancelled instead, also after a crash.
//! Once a cancel is stored, nothing but that is sent, and its attempt is never tried again: what it came to is kept until the
//! low-water mark has passed it.

mod ending;

use crate::HttpServices;
use crate::attempt::{MAX_CALL_TIME, lack_of_room, write};
use crate::calls::{Call, Said};
use crate::convention::Operation;
use crate::message::Message;
use bytes::Bytes;
use ending::{Answered, cancel, cancelling, confirm, finish, gone};
use prost::Message as _;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{BranchId, Ended, Heuristic, Recovered, ResourceError};
use undoubt_participant::table::{BRANCH, unreadable};
use undoubt_platform::{Batch, Durability};
use undoubt_proto::record::http_branch::Stage;
use undoubt_proto::record::{self as stored, HttpBranch};
use undoubt_vocabulary::{BranchOutcome, Execution, Prepare, Refusal, RefusalCode, Timestamp, Vote};
use undoubt_work::http::{HttpWork, Method};
use undoubt_work::{Input, InvalidWork, Results};

/// The least time of a try. A transaction that has less is told to abort, and its try is called off.
const LEAST_TRY_TIME: Duration = Duration::from_secs(1);

/// The number of times that a try is sent that is not answered.
const MAX_TRIES: u32 = 3;
const FIRST_TRY_PAUSE: Duration = Duration::from_millis(100);

/// A branch as it is stored.
struct Branch {
    begun_at: Timestamp,
    result: Bytes,
    own: HttpBranch,
}

impl Branch {
    /// Reads the record of a transaction; `None`: it has none, or of another attempt.
    fn load(http: &HttpServices, branch: &BranchId) -> Result<Option<Branch>, ResourceError> {
        let Some(value) = http.table.prepared(branch)? else { return Ok(None) };
        let damaged = |error: prost::DecodeError| unreadable(BRANCH, branch.tx.to_bytes(), &error.into());
        let record = stored::PreparedBranch::decode(value.clone()).map_err(damaged)?;
        let own = HttpBranch::decode(value).map_err(damaged)?;
        let is_this =
            record.attempt_number == branch.attempt_number.0 && record.coordinator_id[..] == branch.coordinator.0[..];
        let begun_at = Timestamp(record.begun_at_us);
        Ok(is_this.then(|| Branch { begun_at, result: record.result, own }))
    }

    async fn store(&self, http: &HttpServices, branch: &BranchId) -> Result<(), ResourceError> {
        let mut batch = Batch::default();
        http.table.put_prepared(&mut batch, branch, self.begun_at, self.result.clone(), &self.own);
        write(http, batch, Durability::Forced).await
    }

    fn work(&self) -> Result<HttpWork<Input>, ResourceError> {
        let damaged =
            |why: InvalidWork| ResourceError::Stopped { cause: format!("the work of a branch is damaged: {why}") };
        undoubt_work::http::read(&self.own.work).map_err(damaged)
    }
}

pub(super) async fn prepare(
    http: &HttpServices,
    branch: &BranchId,
    prepare: Prepare,
    cancelled: &CancellationToken,
) -> Result<Vote, ResourceError> {
    let work = match undoubt_work::http::read(&prepare.work) {
        Ok(work) => work,
        Err(invalid) => return Ok(Vote::Refused(invalid.into())),
    };
    let message = match checked(http, &work) {
        Ok(message) => message,
        Err(refusal) => return Ok(Vote::Refused(refusal)),
    };
    let refused = |code, detail: String| Ok(Vote::Refused(Refusal::new(code, detail)));
    if matches!(http.table.finished(branch)?, Some((BranchOutcome::Aborted, _))) {
        return refused(RefusalCode::Late, "this attempt was cancelled here before".to_owned());
    }
    match Branch::load(http, branch)? {
        Some(_) => return Err(ResourceError::Unclear { cause: "it was tried here before".to_owned() }),
        None if http.table.prepared(branch)?.is_some() => {
            return refused(
                RefusalCode::Unavailable,
                "an earlier attempt of this transaction is not over here".to_owned(),
            );
        }
        None => {}
    }
    if http.room().largest() < http.settings.max_response_bytes {
        return Err(ResourceError::NoRoom);
    }
    if let Some(why) = lack_of_room(http)? {
        return refused(RefusalCode::Unavailable, why);
    }
    let deadline = Instant::now() + prepare.timeout.clamp(LEAST_TRY_TIME, MAX_CALL_TIME);
    let place = tokio::select! {
        place = http.client.place(&message.address.origin, deadline) => place,
        () = cancelled.cancelled() => return refused(RefusalCode::Late, "it was called off before it was tried".to_owned()),
    };
    let Some(_place) = place else {
        let detail = format!("too many calls of {} are under way (http.max_calls_per_host)", message.address.origin);
        return refused(RefusalCode::Unavailable, detail);
    };
    let identity = http.identity(branch);
    let trace = http.contexts.of_branch(branch);
    let (operation, tried) = (Operation::Try, false);
    let call = || Call { operation, identity: &identity, message: &message, tried, deadline, trace: trace.clone() };
    if work.ending.is_none() && prepare.execution == Execution::OnePhase {
        return Ok(match http.ask(call(), cancelled).await {
            Said::Done(answer) => Vote::ReadOnly { result: Results::encode_answer(&answer) },
            Said::Refused(refusal) => Vote::Refused(refusal),
            Said::Unclear(why) | Said::NotSent(why) => Vote::Refused(Refusal::new(RefusalCode::Unavailable, why)),
        });
    }
    let own = HttpBranch { stage: Stage::Trying.into(), work: prepare.work.clone(), tried: false };
    let mut known = Branch { begun_at: prepare.begun_at, result: Bytes::new(), own };
    match known.store(http, branch).await {
        Err(ResourceError::Unavailable { cause }) => return refused(RefusalCode::Unavailable, cause),
        stored => stored?,
    }
    let answer = match send_try(http, call, cancelled).await {
        Said::Done(answer) => answer,
        Said::Refused(refusal) => return forget(http, branch, refusal).await,
        Said::NotSent(why) => return forget(http, branch, Refusal::new(RefusalCode::Unavailable, why)).await,
        Said::Unclear(cause) => return Err(ResourceError::Unclear { cause }),
    };
    known.result = Results::encode_answer(&answer);
    let mut held = http.room().hold();
    held.add(2 * known.result.len());
    known.own.tried = true;
    let stage = match prepare.execution {
        Execution::TwoPhase => Stage::Prepared,
        Execution::OnePhase => Stage::Confirming,
    };
    known.own.stage = stage.into();
    known.store(http, branch).await.map_err(unclear)?;
    let result = known.result.clone();
    if stage == Stage::Prepared {
        http.contexts.forget_branch(branch);
        return Ok(Vote::Prepared { result });
    }
    drop(_place);
    match confirm(http, branch, &known).await {
        Ok(Answered::Done) => {
            finish(http, branch, BranchOutcome::Committed, result.clone()).await.map_err(unclear)?;
            Ok(Vote::Committed { result })
        }
        // What is refused is cancelled: nobody was told yet.
        Ok(Answered::Refused(refusal)) => {
            cancelling(http, branch, known).await.map_err(unclear)?;
            Err(ResourceError::Unclear { cause: format!("the confirm was refused: {}", refusal.detail) })
        }
        Err(error) => Err(unclear(error)),
    }
}

/// Checks the work of a branch, and returns its first request.
fn checked(http: &HttpServices, work: &HttpWork<Input>) -> Result<Message, Refusal> {
    let message = Message::new(work.request.clone(), &[], &http.allowed)?;
    match &work.ending {
        Some(ending) => {
            // An answer that is not known yet stands for none, so that only what does not depend on it is looked at.
            let unknown = [Bytes::new()];
            if ending.confirm.parameters.is_empty() {
                Message::new(ending.confirm.clone(), &unknown, &http.allowed)?;
            }
            Message::new(ending.cancel.clone(), &unknown, &http.allowed)?;
        }
        None if work.request.method == Method::Get => {}
        None => return Err(InvalidWork::NoEnding.into()),
    }
    Ok(message)
}

/// Sends the try until it is answered, a few times.
async fn send_try<'a>(http: &HttpServices, call: impl Fn() -> Call<'a>, cancelled: &CancellationToken) -> Said {
    let mut pause = FIRST_TRY_PAUSE;
    let mut was_sent = false;
    for sent in 1.. {
        let why = match http.ask(call(), cancelled).await {
            Said::Unclear(why) => why,
            Said::NotSent(why) if was_sent => why,
            // What was sent before may still be on its way, and find free what this one found held.
            Said::Refused(refusal) if was_sent && refusal.code.is_transient() => refusal.detail,
            said @ (Said::Done(_) | Said::Refused(_) | Said::NotSent(_)) => return said,
        };
        was_sent = true;
        if sent == MAX_TRIES || cancelled.is_cancelled() || Instant::now() + pause >= call().deadline {
            return Said::Unclear(why);
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = cancelled.cancelled() => return Said::Unclear(why),
        }
        pause *= 2;
    }
    unreachable!("it ends after {MAX_TRIES}")
}

pub(super) async fn commit(http: &HttpServices, branch: &BranchId) -> Result<Ended, ResourceError> {
    let Some(known) = Branch::load(http, branch)? else {
        return Ok(match http.table.finished(branch)? {
            Some((BranchOutcome::Aborted, _)) => Ended::Gone,
            Some(_) | None => Ended::AsTold,
        });
    };
    if known.own.stage() == Stage::Cancelling {
        return Ok(Ended::Gone);
    }
    match confirm(http, branch, &known).await? {
        Answered::Done => finish(http, branch, BranchOutcome::Committed, known.result).await.map(|()| Ended::AsTold),
        Answered::Refused(refusal) => gone(http, branch, Operation::Confirm, refusal),
    }
}

pub(super) async fn abort(http: &HttpServices, branch: &BranchId) -> Result<Ended, ResourceError> {
    let Some(known) = Branch::load(http, branch)? else {
        return Ok(match http.table.finished(branch)? {
            Some((BranchOutcome::Committed, _)) => Ended::Gone,
            Some(_) | None => Ended::AsTold,
        });
    };
    if known.own.stage() == Stage::Confirming {
        return Ok(Ended::Gone);
    }
    let known = cancelling(http, branch, known).await?;
    match cancel(http, branch, &known).await? {
        Answered::Done => finish(http, branch, BranchOutcome::Aborted, Bytes::new()).await.map(|()| Ended::AsTold),
        Answered::Refused(refusal) => gone(http, branch, Operation::Cancel, refusal),
    }
}

pub(super) async fn resolve(
    http: &HttpServices,
    branch: &BranchId,
    heuristic: Heuristic,
) -> Result<Ended, ResourceError> {
    let Some(known) = Branch::load(http, branch)? else { return Ok(Ended::AsTold) };
    let (begun_at, operation) = (known.begun_at, if heuristic.commit { Operation::Confirm } else { Operation::Cancel });
    let answered = if heuristic.commit {
        confirm(http, branch, &known).await?
    } else {
        let known = cancelling(http, branch, known).await?;
        cancel(http, branch, &known).await?
    };
    match answered {
        Answered::Done => store_heuristic(http, branch, begun_at, heuristic).await.map(|()| Ended::AsTold),
        Answered::Refused(refusal) => gone(http, branch, operation, refusal),
    }
}

pub(super) async fn store_heuristic(
    http: &HttpServices,
    branch: &BranchId,
    begun_at: Timestamp,
    heuristic: Heuristic,
) -> Result<(), ResourceError> {
    let mut batch = Batch::default();
    http.table.put_heuristic(&mut batch, branch, begun_at, heuristic);
    write(http, batch, Durability::Forced).await?;
    http.is_over(branch);
    Ok(())
}

/// Brings a branch that is alone to its end, after a call of it was unclear.
pub(super) async fn settle(http: &HttpServices, branch: &BranchId) -> Result<Option<Bytes>, ResourceError> {
    let Some(known) = Branch::load(http, branch)? else { return result_of(http, branch) };
    let undecided = |operation: Operation| ResourceError::Unavailable {
        cause: format!(
            "the {operation} of transaction {} is refused, and it is not known what became of it",
            branch.tx
        ),
    };
    if known.own.stage() != Stage::Confirming {
        return match abort(http, branch).await? {
            Ended::AsTold => Ok(None),
            Ended::Gone => Err(undecided(Operation::Cancel)),
        };
    }
    match commit(http, branch).await? {
        Ended::AsTold => result_of(http, branch),
        // Nobody was told that it committed, so it may be cancelled instead.
        Ended::Gone => {
            cancelling(http, branch, known).await?;
            http.stuck.is_over(branch);
            Err(undecided(Operation::Confirm))
        }
    }
}

pub(super) fn result_of(http: &HttpServices, branch: &BranchId) -> Result<Option<Bytes>, ResourceError> {
    Ok(http
        .table
        .finished(branch)?
        .and_then(|(outcome, result)| (outcome == BranchOutcome::Committed).then_some(result)))
}

/// Tells what survived: what is prepared, what owes a cancel, what is alone and has yet to be settled.
pub(super) fn recover(http: &HttpServices) -> Result<Recovered, ResourceError> {
    let mut stages = Vec::new();
    let recovered = http.table.recover(
        |prepared, value| {
            stages.push((prepared.branch.clone(), HttpBranch::decode(value)?.stage()));
            Ok(())
        },
        |_, _| {},
    )?;
    let (mut in_doubt, mut aborting, mut settling) = (Vec::new(), Vec::new(), Vec::new());
    let mut finished = recovered.finished;
    // Those that were cancelled are kept to refuse them.
    finished.retain(|finished| finished.outcome == BranchOutcome::Committed);
    for (prepared, (branch, stage)) in recovered.prepared.into_iter().zip(stages) {
        match stage {
            Stage::Prepared => in_doubt.push(prepared),
            Stage::Trying | Stage::Cancelling => aborting.push(prepared),
            Stage::Confirming => settling.push(prepared),
            Stage::Unspecified => {
                let cause = format!("the record of transaction {} has a stage that is not known here", branch.tx);
                return Err(ResourceError::Stopped { cause });
            }
        }
    }
    Ok(Recovered { prepared: in_doubt, aborting, settling, finished, ..recovered })
}

/// Drops the record of a branch that was not tried after all.
async fn forget(http: &HttpServices, branch: &BranchId, refusal: Refusal) -> Result<Vote, ResourceError> {
    let mut batch = Batch::default();
    http.table.delete_prepared(&mut batch, branch);
    write(http, batch, Durability::Forced).await.map_err(unclear)?;
    http.contexts.forget_branch(branch);
    Ok(Vote::Refused(refusal))
}

/// Returns the error of a write after which it is not known what holds.
fn unclear(error: ResourceError) -> ResourceError {
    match error {
        ResourceError::Unavailable { cause } => ResourceError::Unclear { cause },
        other @ (ResourceError::NoRoom
        | ResourceError::Unclear { .. }
        | ResourceError::Foreign { .. }
        | ResourceError::Stopped { .. }
        | ResourceError::Fenced { .. }) => other,
    }
}
