//! Large transactions that must get through, for opening accounts and reading them back.
//!
//! Each has one participant. What aborts for a reason that may pass, or has no answer, is done again as a new
//! transaction until the deadline: so it has to be work that may be done twice.

use crate::workload::ledger::unanswered;
use anyhow::{Context, bail};
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, Submitted, Transaction};
use undoubt_vocabulary::{AbortReason, Outcome};

/// Keeps a batch and its results well below a mebibyte.
pub const MAX_OPERATIONS_PER_BATCH: usize = 512;
/// Held in memory at the same time.
const MAX_BATCHES_AT_ONCE: usize = 256;
const PAUSE: Duration = Duration::from_millis(100);

struct Batch {
    place: usize,
    participant: String,
    work: KvWork,
}

/// Carries out all `batches`, each a participant and its work, and hands out the place of
/// each among them and what it read: one entry for each operation.
pub async fn carry_out(
    client: &Client,
    batches: impl IntoIterator<Item = (String, KvWork)>,
    deadline: Instant,
    mut done: impl FnMut(usize, Vec<Option<Bytes>>),
) -> anyhow::Result<()> {
    let mut batches = batches.into_iter().enumerate().map(|(place, (participant, work))| Batch { place, participant, work });
    loop {
        let mut open: Vec<_> = batches.by_ref().take(MAX_BATCHES_AT_ONCE).collect();
        if open.is_empty() {
            return Ok(());
        }
        while let Some(cause) = round(client, &mut open, &mut done).await? {
            if Instant::now() >= deadline {
                bail!("{} batches were not carried out in time, last because: {cause}", open.len());
            }
            sleep(PAUSE).await;
        }
    }
}

/// Submits all that is open, keeps what has to be done again, and says why.
async fn round(
    client: &Client,
    open: &mut Vec<Batch>,
    done: &mut impl FnMut(usize, Vec<Option<Bytes>>),
) -> anyhow::Result<Option<String>> {
    let transactions: Vec<_> =
        open.iter().map(|batch| Transaction::new().kv(&batch.participant, batch.work.clone())).collect();
    let mut submitted = client.submit_many(stream::iter(transactions));
    let (mut again, mut cause) = (BTreeSet::new(), None);
    while let Some(Submitted { sequence, result, .. }) = submitted.next().await {
        let at = usize::try_from(sequence).context("more batches than can be counted")?;
        let Batch { place, participant, .. } = &open[at];
        match result {
            Ok(answer) => match (&answer.outcome, answer.kv(participant)) {
                (Outcome::Committed, Some(results)) => {
                    done(*place, results?);
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
        AbortReason::Refused { refusal, .. } => refusal.code.is_transient(),
        AbortReason::DeadlinePassed { .. }
        | AbortReason::ReadLocksLost { .. }
        | AbortReason::NotExecuted { .. }
        | AbortReason::Presumed => true,
        AbortReason::Cancelled => false,
    }
}
