//! Large transactions that must get through, for opening accounts and reading them back.
//!
//! Each has one participant. What aborts for a reason that may pass, or has no answer, is done again as a new
//! transaction, for as long as patience lasts: so it has to be work that may be done twice.

use crate::workload::account_work::{AccountWork, numbers};
use crate::workload::ledger::unanswered;
use anyhow::{Context, bail};
use futures::{StreamExt, stream};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt_client::{Client, Completion, Transaction};
use undoubt_vocabulary::{AbortReason, Outcome};

/// Held in memory at the same time.
const MAX_BATCHES_AT_ONCE: usize = 256;
const PAUSE: Duration = Duration::from_millis(100);

/// Returns what there is to do at each participant, by its place, in pieces that fit into one batch.
///
/// `max_accesses`: how many a batch at a place may have.
pub fn chunks<T>(at_home: &[Vec<T>], max_accesses: impl Fn(usize) -> usize) -> Vec<(usize, &[T])> {
    let mut chunks = Vec::new();
    for (home, whole) in at_home.iter().enumerate() {
        chunks.extend(whole.chunks(max_accesses(home)).map(|chunk| (home, chunk)));
    }
    chunks
}

struct Batch {
    place: usize,
    participant: String,
    work: AccountWork,
}

/// Carries out `count` batches, each a participant and its work, and hands out the place of each and what it read: one
/// entry for each operation. Batches are made when it is their turn, for all together may not fit into memory.
pub async fn carry_out(
    client: &Client,
    count: usize,
    batch: impl Fn(usize) -> (String, AccountWork),
    patience: Duration,
    mut done: impl FnMut(usize, Vec<Option<i64>>),
) -> anyhow::Result<()> {
    for first in (0..count).step_by(MAX_BATCHES_AT_ONCE) {
        let (mut open, deadline) = (Vec::new(), Instant::now() + patience);
        for place in first..count.min(first + MAX_BATCHES_AT_ONCE) {
            let (participant, work) = batch(place);
            open.push(Batch { place, participant, work });
        }
        while let Some(cause) = round(client, &mut open, &mut done).await? {
            if Instant::now() >= deadline {
                bail!("{} batches were not carried out in time, last because: {cause}", open.len());
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Submits all that is open, keeps what has to be done again, and says why.
async fn round(
    client: &Client,
    open: &mut Vec<Batch>,
    done: &mut impl FnMut(usize, Vec<Option<i64>>),
) -> anyhow::Result<Option<String>> {
    let transactions: Vec<_> =
        open.iter().map(|batch| Transaction::new().on(&batch.participant, batch.work.clone())).collect();
    let mut submitted = client.submit_many(stream::iter(transactions));
    let (mut again, mut cause) = (BTreeSet::new(), None);
    while let Some(Completion { sequence, result, .. }) = submitted.next().await {
        let at = usize::try_from(sequence).context("more batches than can be counted")?;
        let Batch { place, participant, .. } = &open[at];
        match result {
            Ok(answer) => match (&answer.outcome, answer.result(participant)) {
                (Outcome::Committed, Some(results)) => {
                    let numbers = numbers(&results).context("the results are raw, and were not asked for as such")?;
                    done(*place, numbers);
                    continue;
                }
                (Outcome::Committed, None) => cause = Some("what was read was lost".to_owned()),
                (Outcome::Aborted(reason), _) if may_pass(reason) => cause = Some(reason.to_string()),
                (Outcome::Aborted(reason), _) => bail!("a batch for {participant} aborted: {reason}"),
            },
            Err(error) => {
                cause = Some(error.to_string());
                unanswered(error)?;
            }
        }
        again.insert(*place);
    }
    open.retain(|batch| again.contains(&batch.place));
    Ok(cause)
}

fn may_pass(reason: &AbortReason) -> bool {
    match reason {
        AbortReason::Refused { refusal, .. } | AbortReason::TooMuch { refusal, .. } => refusal.code.is_transient(),
        AbortReason::DeadlinePassed { .. }
        | AbortReason::Unanswered { .. }
        | AbortReason::ReadLocksLost { .. }
        | AbortReason::NotExecuted { .. }
        | AbortReason::Presumed => true,
        AbortReason::GivenUp { .. } | AbortReason::Unusable { .. } | AbortReason::Cancelled => false,
    }
}
