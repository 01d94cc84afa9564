//! The rules that hold in every world.
//!
//! Rules about messages are checked when they are sent ([`crate::coordinator`], [`crate::participant`]); here is what can
//! be read off a world as it stands.

mod open_sagas;
mod restored_folders;
mod sagas;

pub(crate) use open_sagas::is_completed;
pub(crate) use restored_folders::is_excused;

use crate::coordinator::is_known_as;
use crate::participant::ParticipantHost;
use crate::resource::Caller;
use crate::scenario::{Request, RequestKind, Scenario, participant_name};
use crate::serial;
use crate::world::{RequestState, Seat, World};
use std::collections::BTreeSet;
use undoubt_coordinator_core::{Completions, EndedRecord};
use undoubt_vocabulary::{AttemptNumber, Outcome, ParticipantName, TransactionPhase, TxId};

pub(crate) fn check(world: &World, scenario: &Scenario) -> Result<(), String> {
    restored_folders::nobody_is_held_for_nothing(world, scenario)?;
    restored_folders::nobody_serves_with_a_sign(world, scenario)?;
    if restored_folders::log_was_put_back(world, scenario) || world.restored.unnoticed {
        for (number, seat) in world.seats.iter().enumerate() {
            locks_are_held_rightly(number, &seat.host)?;
        }
        return restored_folders::check(world, scenario);
    }
    for (at, request) in scenario.requests.iter().enumerate() {
        if scenario.requests[..at].iter().all(|earlier| earlier.tx != request.tx) {
            one_transaction(world, scenario, &request.tx())?;
        }
    }
    for (number, seat) in world.seats.iter().enumerate() {
        locks_are_held_rightly(number, &seat.host)?;
        marks_are_held_rightly(number, &seat.host, world, scenario)?;
    }
    for (state, request) in world.clients.requests.iter().zip(&scenario.requests) {
        is_forgotten_for_good(world, *state, request)?;
    }
    if let Some(word) = world.clients.words.lost(&world.coordinator.log) {
        return Err(format!("operator: {word} was answered, and the log does not know of it"));
    }
    low_water_marks_are_kept_for_a_reason(world)?;
    what_is_open_is_over_nowhere(world, scenario)?;
    serial::check(world, scenario)
}

fn one_transaction(world: &World, scenario: &Scenario, tx: &TxId) -> Result<(), String> {
    let twice = |versions: &Vec<(TxId, AttemptNumber)>| versions.iter().filter(|(writer, _)| writer == tx).count() > 1;
    let twice = world.seats.iter().position(|seat| seat.host.storage.history.values().any(twice));
    let is_ended_by_others = |seat: &Seat| seat.host.storage.is_ended_by_others(tx);
    if world.seats.iter().any(is_ended_by_others) {
        return match twice.filter(|number| is_ended_by_others(&world.seats[*number])) {
            Some(number) => Err(format!("R3: {tx} took effect at p{number} by somebody else, and once more")),
            None => Ok(()),
        };
    }
    let hazard = is_hazard(world, scenario, tx);
    let ended = world.coordinator.log.ended.get(tx);
    if is_unknown(world, scenario, tx) {
        return Ok(());
    }
    match scenario.begun(tx) {
        Some(Completions::TwoPhase) => open_sagas::check_two_phase(world, scenario, tx)?,
        Some(Completions::Together | Completions::AsJoined | Completions::Reversed) => {
            let forgotten = is_forgotten(world, scenario, tx) || world.clients.given_up.contains(tx);
            return open_sagas::check(world, scenario, tx, forgotten);
        }
        None => {}
    }
    let committed: BTreeSet<AttemptNumber> =
        world.seats.iter().flat_map(|seat| seat.host.storage.has_committed(tx)).collect();
    sagas::check(world, scenario, tx, &committed, is_forgotten(world, scenario, tx))?;
    if !world.coordinator.log.is_saga(tx) && !restored_folders::is_listed(world, tx) {
        answers_are_true(world, scenario, tx, committed.first().copied())?;
    }
    match (committed.first(), committed.last()) {
        (Some(first), Some(last)) if first != last => {
            return Err(format!("atomicity: {tx} committed twice, as {first} and as {last}"));
        }
        (Some(attempt_number), _) => committed_everywhere(world, scenario, tx, *attempt_number, twice)?,
        (None, _) => {}
    }
    match ended {
        // Of a saga: see there.
        Some(ended) if ended.is_damaged() && !hazard && !ended.saga && !world.restored.accepted => {
            Err(format!("S9: a branch is said to be lost: {}", Branches(ended)))
        }
        Some(_) | None => Ok(()),
    }
}

/// An operator has forgotten it, and its record says that nobody knows.
pub(crate) fn is_hazard(world: &World, scenario: &Scenario, tx: &TxId) -> bool {
    is_forgotten(world, scenario, tx) && world.coordinator.log.ended.get(tx).is_some_and(EndedRecord::is_damaged)
}

/// An operator gave up a single branch, which may have committed by itself; whatever it came to, the record says that
/// nobody knows.
pub(crate) fn is_unknown(world: &World, scenario: &Scenario, tx: &TxId) -> bool {
    let is_unknown =
        |ended: &EndedRecord| !ended.saga && ended.branches.len() == 1 && ended.outcome != Outcome::Committed;
    is_hazard(world, scenario, tx) && world.coordinator.log.ended.get(tx).is_some_and(is_unknown)
}

/// An operator has given it up: while it was carried out, or while it was held and it ended so.
pub(crate) fn is_forgotten(world: &World, scenario: &Scenario, tx: &TxId) -> bool {
    let ended_so = world.coordinator.log.ended.get(tx).is_some_and(EndedRecord::is_damaged);
    if ended_so && world.clients.given_up.contains(tx) {
        return true;
    }
    world.clients.requests.iter().zip(&scenario.requests).any(|(state, request)| {
        matches!(request.kind, RequestKind::Forget) && request.tx() == *tx && *state != RequestState::ToAsk
    })
}

/// An operator is answered once no crash can bring it back.
fn is_forgotten_for_good(world: &World, state: RequestState, request: &Request) -> Result<(), String> {
    let (log, tx) = (&world.coordinator.log, request.tx());
    let answered = matches!(request.kind, RequestKind::Forget) && state == RequestState::Answered;
    if answered && log.holds_open(&tx) {
        return Err(format!("operator: {tx} is said to be forgotten, and the log holds it open"));
    }
    Ok(())
}

/// Atomicity: a branch that is committed means that each branch is, or still can be and nothing else; and none is twice.
fn committed_everywhere(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    attempt_number: AttemptNumber,
    twice: Option<usize>,
) -> Result<(), String> {
    let Some(branches) = world.coordinator.log.commits(tx, attempt_number) else {
        return Err(format!("R1: {tx}/{attempt_number} is committed at a branch, and not decided in the log"));
    };
    if let Some(number) = lost(world, scenario, tx, attempt_number, &branches) {
        return Err(format!(
            "atomicity: {tx}/{attempt_number} is committed, but not at p{number}, which cannot any more"
        ));
    }
    match twice {
        Some(number) => Err(format!("atomicity: {tx}/{attempt_number} took effect twice at p{number}")),
        None => Ok(()),
    }
}

/// A writing branch that neither has committed nor can commit.
fn lost(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    attempt_number: AttemptNumber,
    branches: &[ParticipantName],
) -> Option<usize> {
    (0..world.seats.len()).find(|number| {
        let storage = &world.seats[*number].host.storage;
        scenario.writes(tx, *number)
            && !restored_folders::is_on_record(world, scenario, tx, *number)
            && !storage.is_prepared(tx, attempt_number)
            && !storage.has_committed(tx).contains(&attempt_number)
            && branches.contains(&participant_name(*number))
    })
}

fn answers_are_true(
    world: &World,
    scenario: &Scenario,
    tx: &TxId,
    committed: Option<AttemptNumber>,
) -> Result<(), String> {
    let log = &world.coordinator.log;
    match world.clients.told.get(tx) {
        Some((Outcome::Aborted(_), _)) if committed.is_some() => {
            Err(format!("R10: a client was told that {tx} aborted, and a branch has committed it"))
        }
        Some((Outcome::Aborted(_), _)) if log.open.contains_key(tx) => {
            Err(format!("R10: a client was told that {tx} aborted, and the log holds it open"))
        }
        Some((Outcome::Committed, _)) => {
            let attempt_number = log
                .open
                .get(tx)
                .map(|open| open.attempt_number)
                .or(log.ended.get(tx).map(|ended| ended.attempt_number));
            let Some((attempt_number, branches)) =
                attempt_number.and_then(|attempt_number| Some((attempt_number, log.commits(tx, attempt_number)?)))
            else {
                return Err(format!("R10: a client was told that {tx} committed, and the log does not say so"));
            };
            match lost(world, scenario, tx, attempt_number, &branches) {
                Some(number) => Err(format!("R10: a client was told that {tx} committed, and p{number} has lost it")),
                None => Ok(()),
            }
        }
        Some((Outcome::Aborted(_), _)) | None => Ok(()),
    }
}

/// R11: where nothing is open the low-water mark moves on, or participants would remember for ever.
fn low_water_marks_are_kept_for_a_reason(world: &World) -> Result<(), String> {
    let Some(process) = world.coordinator.process.as_ref().filter(|process| process.is_serving()) else {
        return Ok(());
    };
    match process.core.with_open().next().filter(|_| process.core.open_transactions() == 0) {
        Some(name) => Err(format!("R11: nothing is open, and the low-water mark of {name} stays")),
        None => Ok(()),
    }
}

/// R11: where low-water marks may pass what is open, nobody takes that for over, save where a log was put back, or the coordinator holds
/// what it cannot carry out. They pass open sagas alone: a branch of two-phase commit that has ended is over before its transaction is, which
/// a crash may forget.
fn what_is_open_is_over_nowhere(world: &World, scenario: &Scenario) -> Result<(), String> {
    let coordinator = world.coordinator.process.as_ref().filter(|process| process.is_serving());
    let is_begun = |two_phase| {
        let mut kinds = scenario.requests.iter().map(|request| &request.kind);
        kinds.any(|kind| matches!(kind, RequestKind::Begin(of, _) if (*of == Completions::TwoPhase) == two_phase))
    };
    let may_pass = is_begun(false) && !is_begun(true);
    let Some(coordinator) = coordinator.filter(|_| may_pass && scenario.restored.is_none()) else { return Ok(()) };
    if coordinator.core.views().any(|view| view.phase == TransactionPhase::Unusable) {
        return Ok(());
    }
    for (number, seat) in world.seats.iter().enumerate() {
        let over = coordinator.core.low_water_mark(&participant_name(number));
        let known = seat.host.process.iter().flat_map(|process| process.core.coordinators());
        if let Some(known) = known.map(|known| known.low_water_mark).find(|known| known.and(&over) != over) {
            return Err(format!("R11: p{number} takes for over what is below {known}, and that is below {over}"));
        }
    }
    Ok(())
}

/// R2: a prepared branch can commit whenever it is told to, so nobody else has its locks. R11: locks are held for a
/// branch that is not over, and will be freed with it.
fn locks_are_held_rightly(number: usize, host: &ParticipantHost) -> Result<(), String> {
    let Some(process) = &host.process else { return Ok(()) };
    let locks = &process.memory.locks;
    let mut in_doubt = host.storage.prepared.iter().filter(|(_, record)| record.ended.is_none());
    if let Some((tx, _)) = in_doubt.find(|(tx, _)| !locks.holders().any(|holder| holder == *tx)) {
        return Err(format!("R2: {tx} is prepared at p{number} and does not hold its locks"));
    }
    if locks.is_idle() {
        return Ok(());
    }
    let steps = process.memory.calls.keys().filter(|caller| matches!(caller, Caller::Step(_))).map(Caller::owner);
    let open = process.core.views().map(|view| view.id.tx).chain(steps).chain(process.memory.late.owners());
    let open: BTreeSet<TxId> = open.chain(host.storage.enlisted.keys().cloned()).collect();
    match locks.holders().chain(locks.waiters()).find(|tx| !open.contains(tx)) {
        Some(tx) => Err(format!("R11: p{number} keeps locks of {tx}, whose branch is over there")),
        None => Ok(()),
    }
}

/// A key is marked by one saga at a time, and by none that has ended; but for one that was forgotten, where the
/// low-water mark drops them.
fn marks_are_held_rightly(
    number: usize,
    host: &ParticipantHost,
    world: &World,
    scenario: &Scenario,
) -> Result<(), String> {
    let marks = &host.storage.marks;
    for (step, keys) in marks {
        let (tx, attempt_number) = (&step.tx, step.attempt_number);
        if host.storage.is_marked_against(tx, attempt_number, keys) {
            return Err(format!(
                "marks: {tx}/{attempt_number} and another saga hold semantic locks on the same key at p{number}"
            ));
        }
        let has_ended = world.coordinator.log.ended.get(tx).is_some_and(|ended| is_known_as(ended, attempt_number));
        if has_ended && !is_forgotten(world, scenario, tx) {
            return Err(format!("marks: {tx}/{attempt_number} has ended, and has left a semantic lock at p{number}"));
        }
    }
    Ok(())
}

struct Branches<'a>(&'a EndedRecord);

impl std::fmt::Display for Branches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.outcome)?;
        self.0.branches.iter().try_for_each(|branch| write!(f, ", {} {}", branch.name(), branch.outcome))
    }
}
