//! Recovery finds what was there, and finds the same once more; and nothing fails by itself.
//!
//! * `difference`: nothing excuses it. The restarts come after the healing, when disks are honest, so even what a lying
//!   disk left has to be read alike every time.
//! * `overlooked`: what can be read and not carried out is held, and listed, until an operator ends it. Excused if the
//!   coordinator is gone, or something else befell its disk.
//! * `failure`: nothing excuses a panic; a refusal to start is listed only if the disk was healthy.

use super::Violation;
use super::facts::coordinator_is_gone;
use crate::plan::What;
use crate::run::Run;

pub fn check(run: &Run) -> Vec<Violation> {
    let differences = run.finals.recoveries.iter().filter_map(|recovery| {
        let difference = recovery.difference.as_ref()?;
        let what = format!("{} was started again without any work, and differs: {difference}", recovery.host);
        Some(Violation::new("recovery.difference", what))
    });
    let failures = run.finals.failures.iter().map(|failure| Violation::new("recovery.failure", failure));
    differences.chain(failures).chain(overlooked(run)).collect()
}

fn overlooked(run: &Run) -> Vec<Violation> {
    let befell = |what: &What| match what {
        What::LyingSyncs { host, .. }
        | What::RolledBack { host, .. }
        | What::PutBack { host, .. }
        | What::BitFlip { host, .. }
        | What::Wiped { host }
        | What::Swapped { host, .. } => host.is_coordinator(),
        What::Crash { host, power, .. } => *power && host.is_coordinator(),
        What::Gone { .. }
        | What::Pause { .. }
        | What::Takeover { .. }
        | What::Partition { .. }
        | What::Clog { .. }
        | What::Tamper { .. }
        | What::SyncFails { .. }
        | What::DiskFull { .. }
        | What::ReadOnlyDisk { .. }
        | What::DiskAway { .. }
        | What::Unclear { .. }
        | What::ReadersForgotten { .. }
        | What::SessionsCut { .. }
        | What::ServiceTroubled { .. }
        | What::OtherHand { .. }
        | What::Impostor { .. }
        | What::SlowDisk { .. }
        | What::VoteLost { .. }
        | What::Poisoned
        | What::Clock { .. }
        | What::Resolve { .. }
        | What::Forget
        | What::CompensationsRefused { .. }
        | What::ActionsRefused { .. }
        | What::SlowPrepares { .. }
        | What::SlowReader { .. }
        | What::LateSource { .. }
        | What::ReactionsRefused { .. }
        | What::SlowReactions { .. }
        | What::UnknownSchema
        | What::ResolveStuck { .. }
        | What::EndSaga { .. }
        | What::ReleaseMarks { .. } => false,
    };
    let mut struck = run.hits.iter().filter_map(|(fault, _)| run.plan.faults.get(*fault));
    if coordinator_is_gone(run) || run.finals.settled_after_us.is_none() || struck.any(|fault| befell(&fault.what)) {
        return Vec::new();
    }
    let overlooked = run.finals.poisoned.iter().filter(|tx| !run.finals.held.contains(*tx));
    overlooked
        .map(|tx| {
            Violation::of(
                "recovery.overlooked",
                tx,
                format!("the record of {tx} cannot be carried out, and nobody said so"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{healthy, rules};

    #[test]
    fn a_store_that_changes_without_work_is_found_although_disks_have_lied() {
        let mut run = healthy();
        run.finals.excused_epochs = true;
        run.finals.recoveries[0].difference = Some("t1 is missing".into());
        assert_eq!(rules(check, &run), ["recovery.difference"]);
    }

    #[test]
    fn a_record_that_cannot_be_carried_out_and_that_nobody_lists_is_found() {
        let mut run = healthy();
        run.finals.poisoned.insert("t1".into());
        assert_eq!(rules(check, &run), ["recovery.overlooked"]);
        run.finals.held.insert("t1".into());
        assert_eq!(rules(check, &run), [""; 0]);
    }

    #[test]
    fn a_panic_is_found() {
        let mut run = healthy();
        run.finals.failures.push("p1 panicked: a vote without a branch".into());
        assert_eq!(rules(check, &run), ["recovery.failure"]);
    }
}
