//! The start: the end of earlier processes, and what survived.

use super::Inner;
use super::ending::{abort, commit, know};
use super::record;
use std::collections::BTreeMap;
use undoubt_participant::resource::{BranchId, PreparedBranch, Recovered, ResourceError};
use undoubt_vocabulary::{CoordinatorId, LowWaterMark};

pub(super) async fn recover(inner: &Inner) -> Result<Recovered, ResourceError> {
    inner.known().clear();
    inner.sessions.take_over().await?;
    finish_intents(inner).await?;
    let prepared = record::prepared(inner).await?;
    let mut recovered = read(inner).await?;
    for gid in prepared {
        let Some((branch, begun_at)) = gid.read() else { continue };
        know(inner, &branch, gid);
        recovered.prepared.push(PreparedBranch { branch, begun_at, result: None });
    }
    Ok(recovered)
}

/// Carries out what an operator has decided and a crash has kept from being done.
async fn finish_intents(inner: &Inner) -> Result<(), ResourceError> {
    let decided: BTreeMap<BranchId, bool> =
        read(inner).await?.heuristics.into_iter().map(|record| (record.branch, record.heuristic.commit)).collect();
    for gid in record::prepared(inner).await? {
        let Some((branch, _)) = gid.read() else { continue };
        let Some(is_committed) = decided.get(&branch) else { continue };
        know(inner, &branch, gid);
        match is_committed {
            true => commit(inner, &branch).await?,
            false => abort(inner, &branch).await?,
        };
    }
    Ok(())
}

/// What is over may not be deleted yet, or have come after it was.
async fn read(inner: &Inner) -> Result<Recovered, ResourceError> {
    let mut recovered = record::table(inner).await?.recover(|_, _| Ok(()), |_, _| {})?;
    let marks: BTreeMap<CoordinatorId, LowWaterMark> =
        recovered.coordinators.iter().map(|known| (known.id, known.low_water_mark.clone())).collect();
    let is_over = |coordinator, attempt| marks.get(&coordinator).is_some_and(|mark| mark.is_over(attempt));
    let heuristics = &recovered.heuristics;
    recovered.finished.retain(|finished| {
        let branch = &finished.branch;
        !is_over(branch.coordinator, branch.attempt_number) && heuristics.iter().all(|record| record.branch != *branch)
    });
    recovered.steps.retain(|step| !is_over(step.step.coordinator, step.step.attempt_number));
    Ok(recovered)
}
