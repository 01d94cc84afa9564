//! The words in which a trace tells what happened: who does what, and what comes of it.

use crate::action::Action;
use crate::coordinator::Process;
use crate::network::Packet;
use crate::scenario::{Enlisting, Request, RequestKind, Scenario};
use crate::world::{RequestState, Seat, World};
use std::borrow::Cow;
use undoubt_coordinator_core::{Record, Timer};

/// One step of a history, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepWords {
    pub who: String,
    pub what: String,
    /// The consequences: what was sent, written and answered.
    pub then: Vec<String>,
}

impl Action {
    /// `after` is `None` if the step broke a rule half way.
    pub(crate) fn tell(&self, before: &World, after: Option<&World>, scenario: &Scenario) -> StepWords {
        let (who, what) = self.words(before, scenario);
        let then = after.map(|after| consequences(before, after, scenario)).unwrap_or_default();
        StepWords { who, what, then }
    }

    fn words(&self, world: &World, scenario: &Scenario) -> (String, String) {
        let coordinator = |what: String| ("coordinator".to_owned(), what);
        let operator = |what: String| ("OPERATOR".to_owned(), what);
        let at = |participant: &usize, what: String| (format!("p{participant}"), what);
        let arrives = |participant: &usize, packet: &usize, and: &str| {
            let Packet { session, body } = &world.seats[*participant].packets[*packet];
            if body.is_for_participant() {
                (format!("p{participant}"), format!("receives {body}{and} [session {session}]"))
            } else {
                ("coordinator".to_owned(), format!("receives of p{participant}: {body}{and} [session {session}]"))
            }
        };
        match self {
            Action::Ask { request } => {
                let asked = &scenario.requests[*request];
                (format!("client {request}"), format!("asks: {} {}", asked.kind.verb(), asked.tx))
            }
            Action::Deliver { participant, packet } => arrives(participant, packet, ""),
            Action::Duplicate { participant, packet } => arrives(participant, packet, ", and WILL AGAIN"),
            Action::Lose { participant, packet } => {
                let body = &world.seats[*participant].packets[*packet].body;
                let way = if body.is_for_participant() { "to" } else { "of" };
                ("NETWORK".to_owned(), format!("loses {body} {way} p{participant}"))
            }
            Action::BecomeStable => match world.coordinator.process.as_ref().and_then(|p| p.unstable.front()) {
                Some(write) => ("log".to_owned(), format!("has on stable storage: {}", name(&write.record))),
                None => ("log".to_owned(), "has nothing to write".to_owned()),
            },
            Action::Refuse { record } => {
                let process = world.coordinator.process.as_ref();
                let refused =
                    process.and_then(|process| process.unstable.get(*record)).map(|write| name(&write.record));
                ("STORE".to_owned(), format!("REFUSES {}", refused.unwrap_or_default()))
            }
            Action::Drop { tx } => ("log".to_owned(), format!("drops the record of {tx}, which has ended")),
            Action::Spoil { tx } => ("STORE".to_owned(), format!("holds a record of {tx} that CANNOT BE CARRIED OUT")),
            Action::Fire { tx, attempt_number, timer: Timer::Deadline { .. } } => {
                ("time".to_owned(), format!("the deadline of {tx}/{attempt_number} passes"))
            }
            Action::Fire { tx, attempt_number, timer: Timer::Attempt { step, direction, attempt, .. } } => {
                let step = step.0;
                (
                    "time".to_owned(),
                    format!("attempt {attempt} of the {direction} of step {step} of {tx}/{attempt_number} lapses"),
                )
            }
            Action::Fire { tx, attempt_number, timer: Timer::StepRetry { step, direction, attempt, .. } } => {
                let step = step.0;
                let what = format!(
                    "to try the {direction} of step {step} of {tx}/{attempt_number} again, after attempt {attempt}"
                );
                ("time".to_owned(), what)
            }
            Action::Fire { tx, attempt_number, timer: Timer::Retry { attempt } } => {
                ("time".to_owned(), format!("to repeat what {tx}/{attempt_number} still waits for, attempt {attempt}"))
            }
            Action::Connect { participant } => coordinator(format!("has a new session with p{participant}")),
            Action::Dial { participant } => coordinator(format!("dials p{participant}")),
            Action::NoticeEnd { participant } => {
                coordinator(format!("sees that its session with p{participant} ended"))
            }
            Action::Disconnect { participant } => {
                ("NETWORK".to_owned(), format!("breaks the session with p{participant}"))
            }
            Action::RecordEpoch { participant } => at(participant, "has recorded the epoch".to_owned()),
            Action::CarryOn { participant, caller } => {
                at(participant, format!("its resource carries on: {} {caller}", self.call(world)))
            }
            Action::GiveUp { participant, caller } => {
                at(participant, format!("gives up before it has the locks of {caller}"))
            }
            Action::ResolveStep(word) => operator(format!("says: {word}")),
            Action::ForgetHeld { tx } => operator(format!("forgets {tx}, which is held")),
            Action::ReleaseMarks { participant, tx } => {
                operator(format!("releases the semantic locks of {tx} at p{participant}"))
            }
            Action::Upset { participant, upset } => at(participant, format!("its resource {}", upset.tell().0)),
            Action::EndPause => ("time".to_owned(), "passes: the pause of open breakers is over".to_owned()),
            Action::Find { participant } => at(participant, "its resource looks at what is prepared".to_owned()),
            Action::AskAbout { participant, tx } => {
                at(participant, format!("asks who has {tx} open, for which something is prepared"))
            }
            Action::UndoUnsubmitted { participant } => {
                at(participant, "its resource undoes what nobody will submit".to_owned())
            }
            Action::Sweep { participant } => at(participant, "sweeps".to_owned()),
            Action::Resolve { participant, tx, commit: true } => operator(format!("commits {tx} at p{participant}")),
            Action::Resolve { participant, tx, commit: false } => operator(format!("aborts {tx} at p{participant}")),
            Action::Pause => operator("pauses the recovery".to_owned()),
            Action::Resume => operator("resumes the recovery".to_owned()),
            Action::Drain => operator("drains the coordinator".to_owned()),
            Action::Stop => coordinator("ends after its drain".to_owned()),
            Action::CrashCoordinator { written } => {
                coordinator(format!("CRASHES; of what was not stable, {written} records are found written"))
            }
            Action::RestartCoordinator => coordinator("starts".to_owned()),
            Action::Recover { paused: false } => coordinator("has read its log".to_owned()),
            Action::Recover { paused: true } => {
                operator("has the coordinator start with its recovery paused".to_owned())
            }
            Action::CrashParticipant { participant, kept } => {
                let unforced = world.seats[*participant].host.storage.unforced.len();
                at(participant, format!("CRASHES{}", taken_back(unforced - kept)))
            }
            Action::RestartParticipant { participant } => at(participant, "starts".to_owned()),
            Action::Restoring(restoring) => restoring.tell(scenario),
        }
    }

    fn call(&self, world: &World) -> &'static str {
        let Action::CarryOn { participant, caller } = self else { return "nothing" };
        let process = world.seats[*participant].host.process.as_ref();
        process.and_then(|process| process.memory.calls.get(caller)).map_or("nothing", |call| call.name())
    }
}

fn taken_back(writes: usize) -> String {
    match writes {
        0 => String::new(),
        1 => "; its last write was not forced, and is LOST".to_owned(),
        _ => format!("; its last {writes} writes were not forced, and are LOST"),
    }
}

/// Returns what can be seen to have come of a step.
fn consequences(before: &World, after: &World, scenario: &Scenario) -> Vec<String> {
    let mut seen = Vec::new();
    let unstable = |process: &Option<Process>| process.as_ref().map_or(0, |process| process.unstable.len());
    let written = unstable(&before.coordinator.process);
    if let Some(process) = &after.coordinator.process {
        seen.extend(process.unstable.iter().skip(written).map(|write| format!("appends {}", name(&write.record))));
        let reasons = |world: &World| {
            let standing = world.coordinator.process.as_ref().and_then(|process| process.standing.as_ref());
            standing.map(|standing| standing.reasons()).unwrap_or_default()
        };
        let before = reasons(before);
        seen.extend(reasons(after).into_iter().filter(|why| !before.contains(why)).map(|why| format!("waits: {why}")));
    }
    for (participant, (before, after)) in before.seats.iter().zip(&after.seats).enumerate() {
        seen.extend(sent(before, after).map(|packet| {
            let body = &packet.body;
            if body.is_for_participant() { format!("sends p{participant} {body}") } else { format!("sends {body}") }
        }));
    }
    for (request, (before, now)) in before.clients.requests.iter().zip(&after.clients.requests).enumerate() {
        if before != now && *now == RequestState::Answered {
            let Request { kind, .. } = &scenario.requests[request];
            let tx = scenario.requests[request].tx();
            let joined = kind.joining().and_then(|step| after.clients.steps.get(&(tx.clone(), step.number)));
            let told = after.clients.told.get(&tx).map(|(outcome, _)| outcome.to_string());
            let outcome = told.or(joined.map(|told| format!("{told:?}"))).unwrap_or("without an outcome".to_owned());
            seen.push(format!("answers client {request}: {outcome}"));
        }
    }
    seen
}

fn sent<'a>(before: &'a Seat, after: &'a Seat) -> impl Iterator<Item = &'a Packet> {
    let count = |packets: &[Packet], packet: &Packet| packets.iter().filter(|other| *other == packet).count();
    after.packets.iter().filter(move |packet| count(&before.packets, packet) < count(&after.packets, packet))
}

fn name(record: &Record) -> String {
    format!("{}/{} {:?}", record.tx(), record.attempt_number(), record.stage())
}

impl RequestKind {
    fn verb(&self) -> Cow<'static, str> {
        match self {
            RequestKind::Submit(_) => "submit".into(),
            RequestKind::Saga(_) => "submit as a saga".into(),
            RequestKind::Auto(_) => "submit, as two-phase commit or a saga,".into(),
            RequestKind::Begin(_, None) => "begin".into(),
            RequestKind::Nest(parent) => format!("begin, as a part of {parent},").into(),
            RequestKind::Begin(_, Some(_)) => "begin, with a check-back,".into(),
            RequestKind::Run(step) => format!("run s{} in", step.number).into(),
            RequestKind::Join(step) => format!("join s{} to", step.number).into(),
            RequestKind::Enlist(Enlisting { participant, .. }) => {
                format!("prepare by itself at p{participant}, for").into()
            }
            RequestKind::Close => "close".into(),
            RequestKind::Cancel => "cancel".into(),
            RequestKind::Forget => "forget".into(),
        }
    }
}
