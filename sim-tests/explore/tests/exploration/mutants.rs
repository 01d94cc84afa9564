//! Planted bugs, each of which has to be found for its reason.

use crate::{LIMITS, NO_FAULTS, ONE_CRASH, ONE_LOSS};
use clap::ValueEnum;
use undoubt_explore::{Budget, Mutant, Scenario, explore};

/// Returns where a planted bug is to be found, and as what.
fn planted(mutant: Mutant) -> (Scenario, Budget, &'static str) {
    let quick = |scenario: Scenario| (scenario.clone(), scenario.budget);
    let (two, read_only, wait_die) = (Scenario::two_participants(), Scenario::read_only(), Scenario::wait_die());
    let ((scenario, budget), reason) = match mutant {
        Mutant::CommitBeforeStable => ((two, NO_FAULTS), "R1"),
        Mutant::CommitLostUnnoticed => ((two, NO_FAULTS), "R10"),
        Mutant::EndBeforeStable => ((two, NO_FAULTS), "R10"),
        Mutant::VoteBeforeDurable => ((two, NO_FAULTS), "R2"),
        Mutant::LocksNotRestored => ((two, ONE_CRASH), "R2"),
        Mutant::OpenRecordsForgotten => ((two, ONE_CRASH), "R4"),
        Mutant::PausedStartForgets => (quick(Scenario::operated()), "R4"),
        Mutant::PresumesWhileRecovering => ((two, ONE_CRASH), "R4"),
        Mutant::LowerEpochAccepted => (quick(Scenario::sessions()), "R5"),
        Mutant::EpochUnrecorded => (quick(Scenario::sessions()), "R5"),
        Mutant::ReadOnlyLeavesAtVote => ((read_only, NO_FAULTS), "isolation"),
        Mutant::OldSessionHeard => ((read_only, ONE_CRASH), "isolation"),
        Mutant::LowWaterMarkRunsAhead => ((Scenario::one_phase(), NO_FAULTS), "S9"),
        Mutant::NoSweep => ((two, ONE_LOSS), "termination"),
        Mutant::AbortForcedInPart => ((Scenario::taken_back(), ONE_CRASH), "R11"),
        Mutant::AgesDiffer => ((wait_die, NO_FAULTS), "termination"),
        Mutant::AnybodyWaits => ((wait_die, NO_FAULTS), "termination"),
        Mutant::LeavingUntold => ((wait_die, NO_FAULTS), "R12"),
        Mutant::DecisionUnrecorded => (quick(Scenario::heuristic()), "R3"),
        Mutant::ForgettingErases => ((Scenario::forgotten(), NO_FAULTS), "R10"),
        Mutant::DrainForgets => (quick(Scenario::operated()), "R10"),
        Mutant::NeverResumes => (quick(Scenario::operated()), "termination"),
        Mutant::BegunBeforeStable => ((Scenario::saga(), NO_FAULTS), "saga: action"),
        Mutant::BegunLostUnnoticed => ((Scenario::auto(), NO_FAULTS), "saga: a step"),
        Mutant::CompensatingBeforeStable => ((Scenario::saga(), NO_FAULTS), "saga: compensation"),
        Mutant::ProgressBeforeStable => ((Scenario::pivot(), NO_FAULTS), "saga: action"),
        Mutant::SagasForgotten => ((Scenario::saga(), ONE_CRASH), "R4"),
        Mutant::BarriersForgotten => ((Scenario::saga(), ONE_CRASH), "barrier"),
        Mutant::CompensationUnmarked => ((Scenario::refused_step(), ONE_CRASH), "barrier"),
        Mutant::EmptyUnstored => ((Scenario::saga(), NO_FAULTS), "R2"),
        Mutant::MarksLeft => ((Scenario::side_by_side(), NO_FAULTS), "R2"),
        Mutant::WordUnrecorded => ((Scenario::stuck_past_the_pivot(), NO_FAULTS), "operator"),
        Mutant::WordsForgotten => ((Scenario::stuck_on_the_way_back(), ONE_CRASH), "saga: compensation"),
        Mutant::RefusedThoughDone => ((Scenario::stuck_on_the_way_back(), NO_FAULTS), "barrier"),
        Mutant::MarksIgnored => ((Scenario::crossing_sagas(), NO_FAULTS), "marks"),
        Mutant::ReleaseLeavesMarks => ((Scenario::released(), NO_FAULTS), "R2"),
        Mutant::ForgettingUnheard => ((Scenario::forgotten_saga(), NO_FAULTS), "operator"),
        Mutant::RefusedCalledStable => (quick(Scenario::refused_commit()), "R10"),
        Mutant::RefusalUntold => (quick(Scenario::refused_saga()), "termination"),
        Mutant::UnusableOverlooked => (quick(Scenario::spoiled_saga()), "R4"),
        Mutant::AbilityAssumed => ((Scenario::auto_unable(), NO_FAULTS), "auto"),
        Mutant::TimeStandsStill => (quick(Scenario::auto_probing()), "auto"),
        Mutant::SeenUnstored => (quick(Scenario::participant_put_back_alone()), "sign: p0 has a session"),
        Mutant::SeenUntold => (quick(Scenario::log_put_back_alone()), "sign: the coordinator serves"),
        Mutant::ShownUnread => (quick(Scenario::participant_put_back()), "sign: p0 has a session"),
        Mutant::StartsUnmarked => (quick(Scenario::participant_put_back_alone()), "sign: p0 has a session"),
        Mutant::SpeaksUnasked => (quick(Scenario::log_put_back()), "sign: the coordinator serves"),
        Mutant::LateSignIgnored => (quick(Scenario::log_put_back_alone()), "sign: the coordinator serves"),
        Mutant::OwnSignForgotten => (quick(Scenario::log_put_back_alone()), "sign: the coordinator serves"),
        Mutant::CommitsNotTakenBack => (quick(Scenario::log_put_back()), "put back: T1 has committed"),
        Mutant::NothingTakenBack => (quick(Scenario::log_put_back()), "put back: a participant knew of T1"),
        Mutant::SagasGoOnAfterLoss => {
            (quick(Scenario::log_of_a_late_saga_put_back()), "put back: a client was told that T1 is undone")
        }
        Mutant::LossUnlisted => (quick(Scenario::participant_put_back()), "R10"),
        Mutant::OpenLossUnlisted => (quick(Scenario::participant_put_back_alone()), "R10"),
        Mutant::SignUnstored => (quick(Scenario::log_put_back_alone()), "sign: the coordinator serves"),
        Mutant::SpeaksWhileAsking => {
            (quick(Scenario::log_put_back_alone()), "sign: the coordinator says hello to p0 before it may")
        }
        Mutant::RecoversWhileAsking => {
            (quick(Scenario::nothing_put_back()), "sign: the coordinator takes transactions before it may")
        }
        Mutant::ConnectedUntold => (quick(Scenario::copy_beside_alone()), "put back: a copy that shows it takes"),
        Mutant::UnstableNumbered => (quick(Scenario::nothing_put_back()), "false alarm: the coordinator"),
        Mutant::LossUncounted => (quick(Scenario::participant_put_back_alone()), "R10"),
        Mutant::PassedCalledAborted => (quick(Scenario::log_put_back_later()), "R10"),
        Mutant::ConfirmedFromMemory => (quick(Scenario::reader_without_locks()), "isolation"),
        Mutant::OtherHandOverlooked => (quick(Scenario::other_hand()), "R1"),
        Mutant::OtherHandUnreported => (quick(Scenario::other_hand()), "termination"),
        Mutant::OtherHandUnstored => (quick(Scenario::other_hand()), "R1"),
        Mutant::EvidenceUnasked => (quick(Scenario::unclear()), "termination"),
        Mutant::EvidenceCollected => (quick(Scenario::other_hand()), "termination"),
        Mutant::ForgottenUntold => (quick(Scenario::evidence_and_dropped_records()), "R4"),
        Mutant::UnclearCalledRefused => (quick(Scenario::unclear_alone()), "R10"),
        Mutant::FoundUntold => (quick(Scenario::late()), "termination"),
        Mutant::FoundToldOnce => (quick(Scenario::late()), "termination"),
        Mutant::FoundAborted => (quick(Scenario::late()), "R2"),
        Mutant::OwedForgotten => (quick(Scenario::owed()), "termination"),
        Mutant::SettlingForgotten => (quick(Scenario::settling()), "R11"),
        Mutant::SettlingCalledCommitted => (quick(Scenario::settling()), "R10"),
        Mutant::JoinedBeforeStable => ((Scenario::open_saga(), NO_FAULTS), "saga: action"),
        Mutant::JoinedLostUnnoticed => ((Scenario::open_saga(), NO_FAULTS), "saga: step"),
        Mutant::ClosedBeforeStable => ((Scenario::open_saga(), NO_FAULTS), "saga: completion"),
        Mutant::RefusedBeforeStable => ((Scenario::open_and_refused(), NO_FAULTS), "open saga: s1 of T1 is answered"),
        Mutant::JoinedLast => ((Scenario::open_among_joins(), NO_FAULTS), "open saga: s1 joins"),
        Mutant::OpenSagasForgotten => ((Scenario::open_saga(), ONE_CRASH), "R4"),
        Mutant::JoinedForgotten => ((Scenario::open_saga(), ONE_CRASH), "open saga"),
        Mutant::BranchForgotten => ((Scenario::open_two_phase(), ONE_CRASH), "open saga: step 0 of T1 is recorded"),
        Mutant::CompletionsForgotten => ((Scenario::open_saga(), ONE_CRASH), "atomicity"),
        Mutant::ClosedReadAsCancelled => ((Scenario::open_saga(), ONE_CRASH), "open saga: step"),
        Mutant::LaterStepsForgotten => ((Scenario::open_and_cancelled(), ONE_CRASH), "order"),
        Mutant::TurnedBackBySilence => ((Scenario::open_and_cancelled(), NO_FAULTS), "open saga: T1 turns back"),
        Mutant::CheckBackForgotten => ((Scenario::open_and_found_done(), ONE_CRASH), "open saga: T1 turns back"),
        Mutant::LaterCalledFailed => ((Scenario::open_and_found_later(), NO_FAULTS), "check-back: T1 turns back"),
        Mutant::FailedCalledDone => ((Scenario::open_and_found_failed(), NO_FAULTS), "R2: acted"),
        Mutant::ParentForgotten => ((Scenario::nested_and_turned_back(), ONE_CRASH), "nested"),
        Mutant::UndoneAsItself => ((Scenario::nested_and_turned_back(), NO_FAULTS), "saga: compensation"),
        Mutant::AdoptedUndone => (quick(Scenario::enlisted_among_others()), "R10"),
        Mutant::OpenCalledUnsubmitted => (quick(Scenario::enlisted_and_left()), "enlisted"),
        Mutant::CompletionsTurnedRound => ((Scenario::open_and_completed_in_reverse(), ONE_CRASH), "order"),
        Mutant::CompletionUnmarked => ((Scenario::open_saga(), ONE_CRASH), "barrier"),
        Mutant::JoinedUnderSagasNumber => ((Scenario::open_and_late(), NO_FAULTS), "saga: action"),
        Mutant::StillOpenUntold => ((Scenario::open_and_passed(), NO_FAULTS), "R11"),
        Mutant::StillOpenCollected => ((Scenario::open_and_passed(), ONE_CRASH), "barrier"),
        Mutant::StillOpenForgotten => ((Scenario::open_and_passed(), ONE_CRASH), "R11"),
        Mutant::ElsewhereUntold => ((Scenario::open_and_undone_elsewhere(), NO_FAULTS), "saga: compensation"),
    };
    (scenario, budget, reason)
}

#[test]
fn every_planted_bug_is_found_for_its_reason() {
    for mutant in Mutant::value_variants() {
        let (scenario, budget, reason) = planted(*mutant);
        let report = explore(&scenario.with_mutant(*mutant), budget, LIMITS, &mut |_, _| {});
        println!("{mutant:?}: {report}\n");
        let broken = report.violation.as_ref().map(|trace| trace.broken.as_str());
        assert!(
            broken.is_some_and(|broken| broken.starts_with(reason)),
            "{mutant:?} is not found as {reason}: {report}"
        );
    }
}
