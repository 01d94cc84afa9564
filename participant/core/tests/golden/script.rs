//! Drives a participant and writes down, in words, what it is told and what it wants done.

use bytes::Bytes;
use std::time::Duration;
use undoubt_participant_core::{
    Answer, BranchId, Effect, Hello, Heuristic, Input, Limits, Operator, Participant, Proof, Recovered, Release,
    Session, StepId, Trust,
};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Direction, Epoch, Execution, LowWaterMark, Prepare, Refusal, RefusalCode,
    StepOutcome, Timestamp, ToCoordinator, ToParticipant, TxId, Vote,
};

pub const COORDINATOR: CoordinatorId = CoordinatorId([7; 16]);

/// Of what is over.
pub const LARGEST_KEPT_BYTES: usize = 10;

pub struct Script {
    participant: Participant,
    pub text: String,
}

impl Script {
    /// A participant with session 1 of epoch 1.
    pub fn new() -> Script {
        let mut script = Script::empty();
        script.hello(1, 1);
        script.epoch_recorded(1);
        script
    }

    pub fn empty() -> Script {
        let limits = Limits { max_open_branches: 8, largest_kept_bytes: LARGEST_KEPT_BYTES, trust: Trust::EVERYBODY };
        Script { participant: Participant::new(limits), text: String::new() }
    }

    /// Tells it, and writes the line and the effects.
    pub fn tell(&mut self, line: &str, input: Input) {
        self.write(line);
        let mut effects = Vec::new();
        self.participant.handle_input(input, &mut effects);
        effects.iter().for_each(|effect| self.write(&format!("    {}", words(effect))));
    }

    pub fn hello(&mut self, session: u64, epoch: u32) {
        let hello = Hello {
            coordinator: COORDINATOR,
            proof: Proof::default(),
            name: String::new(),
            epoch: Epoch(epoch),
            number: None,
            shown: None,
        };
        let input = Input::Hello { session: Session(session), hello };
        self.tell(&format!("session {session}: hello, epoch {epoch}"), input);
    }

    pub fn epoch_recorded(&mut self, session: u64) {
        let input = Input::EpochRecorded { session: Session(session) };
        self.tell(&format!("the epoch of session {session} is durable"), input);
    }

    pub fn recovered(&mut self, line: &str, recovered: Recovered) {
        self.tell(&format!("found: {line}"), Input::Recovered(recovered));
    }

    pub fn low_water_mark(&mut self, low_water_mark: impl Into<LowWaterMark>) {
        let low_water_mark = low_water_mark.into();
        self.tell(
            &format!("low-water mark {low_water_mark}"),
            Input::LowWaterMark { session: Session(1), low_water_mark },
        );
    }

    pub fn hear(&mut self, session: u64, message: ToParticipant) {
        let mut line = format!("session {session}: {} {}/{}", message.name(), message.tx(), message.attempt_number());
        if let ToParticipant::Run(run) = &message {
            line.push_str(&format!("/{}, attempt {}", run.step.0, run.attempt));
        }
        if let ToParticipant::Abort { certain: false, .. } = &message {
            line.push_str(", or its commit is forgotten");
        }
        self.tell(&line, Input::Message { session: Session(session), message });
    }

    pub fn prepare(&mut self, id: &str, attempt_number: AttemptNumber, execution: Execution) {
        self.hear_prepare(1, id, attempt_number, execution);
    }

    pub fn hear_prepare(&mut self, session: u64, id: &str, attempt_number: AttemptNumber, execution: Execution) {
        let work = Bytes::from_static(b"work");
        let (begun_at, timeout) = (Timestamp(1_000_000), Duration::from_secs(5));
        self.hear(
            session,
            ToParticipant::Prepare(Prepare { tx: tx(id), attempt_number, begun_at, timeout, execution, work }),
        );
    }

    pub fn commit(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.hear(1, ToParticipant::Commit { tx: tx(id), attempt_number });
    }

    pub fn abort(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.hear(1, ToParticipant::Abort { tx: tx(id), attempt_number, certain: true });
    }

    /// Its coordinator has no trace of it.
    pub fn presumed(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.hear(1, ToParticipant::Abort { tx: tx(id), attempt_number, certain: false });
    }

    pub fn settle(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.hear(1, ToParticipant::Settle { tx: tx(id), attempt_number });
    }

    pub fn executed(&mut self, id: &str, attempt_number: AttemptNumber, vote: Vote) {
        let line = format!("executed {id}/{attempt_number}: {}", vote_words(&vote));
        self.tell(&line, Input::Executed { branch: branch(id, attempt_number), vote });
    }

    pub fn committed(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.tell(
            &format!("committed {id}/{attempt_number}, durably"),
            Input::Committed { branch: branch(id, attempt_number) },
        );
    }

    pub fn aborted(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.tell(&format!("aborted {id}/{attempt_number}"), Input::Aborted { branch: branch(id, attempt_number) });
    }

    pub fn confirm(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.hear(1, ToParticipant::Confirm { tx: tx(id), attempt_number });
    }

    pub fn confirmed(&mut self, id: &str, attempt_number: AttemptNumber, held: bool) {
        let line = format!("confirmed {id}/{attempt_number}: held {held}");
        self.tell(&line, Input::Confirmed { branch: branch(id, attempt_number), held });
    }

    pub fn gone(&mut self, id: &str, attempt_number: AttemptNumber) {
        let input = Input::Gone { branch: branch(id, attempt_number), at: Timestamp(3_000_000) };
        self.tell(&format!("{id}/{attempt_number} was ended the other way by somebody else"), input);
    }

    pub fn found(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.found_of(COORDINATOR, id, attempt_number);
    }

    pub fn found_of(&mut self, coordinator: CoordinatorId, id: &str, attempt_number: AttemptNumber) {
        let branch = BranchId { coordinator, ..branch(id, attempt_number) };
        let of = if coordinator == COORDINATOR { "" } else { " of another coordinator" };
        let input = Input::Found { branch, begun_at: Timestamp(1_000_000), result: Bytes::new() };
        self.tell(&format!("{id}/{attempt_number}{of} is prepared, and nobody here has prepared it"), input);
    }

    pub fn sweep(&mut self) {
        self.tell("a sweep is due", Input::SweepDue);
    }

    pub fn resolve(&mut self, id: &str, commit: bool) {
        let (who, reason) = ("eve".to_owned(), "the coordinator burnt down".to_owned());
        let heuristic = Heuristic { commit, at: Timestamp(2_000_000), who, reason, decision: None };
        let input = Input::Resolve { tx: tx(id), heuristic, operator: Operator(1) };
        self.tell(&format!("operator 1 resolves {id}: {}", if commit { "commit" } else { "abort" }), input);
    }

    pub fn release(&mut self, id: &str) {
        let release = Release { at: Timestamp(2_000_000), who: "eve".to_owned(), reason: "it burnt down".to_owned() };
        let input = Input::ReleaseMarks { coordinator: COORDINATOR, tx: tx(id), release, operator: Operator(1) };
        self.tell(&format!("operator 1 releases the semantic locks of {id}"), input);
    }

    pub fn released(&mut self, id: &str, attempt_number: AttemptNumber) {
        let input = Input::MarksReleased { coordinator: COORDINATOR, attempt_number, tx: tx(id) };
        self.tell(&format!("the semantic locks of {id}/{attempt_number} are gone, durably"), input);
    }

    pub fn resolved(&mut self, id: &str, attempt_number: AttemptNumber) {
        self.tell(
            &format!("resolved {id}/{attempt_number}, durably"),
            Input::Resolved { branch: branch(id, attempt_number) },
        );
    }

    fn write(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub fn view(&self) -> Participant {
        self.participant.clone()
    }
}

pub fn tx(id: &str) -> TxId {
    id.parse().expect("a valid id")
}

pub fn attempt_number(epoch: u32, number: u64) -> AttemptNumber {
    AttemptNumber(AttemptNumber::first_of(Epoch(epoch)).0 + number)
}

pub fn branch(id: &str, attempt_number: AttemptNumber) -> BranchId {
    BranchId { tx: tx(id), attempt_number, coordinator: COORDINATOR }
}

pub fn coordinator(epoch: u32, low_water_mark: impl Into<LowWaterMark>) -> Recovered {
    Recovered::Coordinator { id: COORDINATOR, epoch: Epoch(epoch), low_water_mark: low_water_mark.into(), pin: None }
}

pub fn prepared() -> Vote {
    Vote::Prepared { result: Bytes::from_static(b"x=1") }
}

pub fn committed_alone() -> Vote {
    Vote::Committed { result: Bytes::from_static(b"x=1") }
}

pub fn read_only() -> Vote {
    Vote::ReadOnly { result: Bytes::from_static(b"x=1") }
}

pub fn refused() -> Vote {
    Vote::Refused(Refusal::new(RefusalCode::LockConflict, "because"))
}

fn vote_words(vote: &Vote) -> String {
    match vote {
        Vote::Prepared { result } => format!("prepared, {result:?}"),
        Vote::ReadOnly { result } => format!("read-only, {result:?}"),
        Vote::Committed { result } => format!("committed, {result:?}"),
        Vote::Refused(refusal) => format!("refused, {refusal}"),
    }
}

pub fn outcome_words(outcome: &StepOutcome) -> String {
    match outcome {
        StepOutcome::Done { result, pending: false } => format!("done, {result:?}"),
        StepOutcome::Done { result, pending: true } => format!("done, {result:?}, pending"),
        StepOutcome::Empty => "empty".to_owned(),
        StepOutcome::Refused(refusal) => format!("refused, {refusal}"),
    }
}

fn words(effect: &Effect) -> String {
    let named = |id: &BranchId| format!("{}/{}", id.tx, id.attempt_number);
    let step_named = |id: &StepId| format!("{}/{}/{}", id.tx, id.attempt_number, id.step.0);
    match effect {
        Effect::RecordEpoch { session, epoch, .. } => format!("record epoch {} of session {}", epoch.0, session.0),
        Effect::Welcome { session, .. } => format!("welcome session {}", session.0),
        Effect::RememberSeen { .. }
        | Effect::RememberName { .. }
        | Effect::StorePutBack { .. }
        | Effect::RecordPin { .. }
        | Effect::AcceptLoss { .. } => unreachable!("no writes are numbered in these scripts"),
        Effect::Close { session, why } => format!("close session {}: {why}", session.0),
        Effect::Send { session, message } => format!("send session {} {}", session.0, sent(message)),
        Effect::Execute { branch, prepare } => match prepare.execution {
            Execution::TwoPhase => format!("execute {}", named(branch)),
            Execution::OnePhase => format!("execute {} in one phase", named(branch)),
        },
        Effect::Settle { branch } => format!("settle {}", named(branch)),
        Effect::Cancel { branch } => format!("cancel {}", named(branch)),
        Effect::Confirm { branch } => format!("confirm {}", named(branch)),
        Effect::Commit { branch } => format!("commit {}", named(branch)),
        Effect::Abort { branch } => format!("abort {}", named(branch)),
        Effect::Release { branch } => format!("release {}", named(branch)),
        Effect::Resolve { branch, heuristic } => format!("resolve {}: {}", named(branch), heuristic.outcome()),
        Effect::StoreHeuristic { branch, heuristic, .. } => {
            let decision = match heuristic.decision {
                Some(true) => "decided: commit",
                Some(false) => "decided: abort",
                None => "not decided",
            };
            let Heuristic { who, .. } = heuristic;
            format!("store that {} is {} by {who}, and was {decision}", named(branch), heuristic.outcome())
        }
        Effect::ForgetHeuristic { branch, operator } => {
            format!("forget the heuristic outcome of {} for operator {}", named(branch), operator.0)
        }
        Effect::RunAction { step, run } => format!("run action {}, attempt {}", step_named(step), run.attempt),
        Effect::CancelAction { step } => format!("cancel action {}", step_named(step)),
        Effect::FinishStep { step, run, recall } => {
            let recalled = if *recall { ", and the result that is recalled" } else { "" };
            let verb = match run.direction {
                Direction::Forward | Direction::Compensating => "compensate",
                Direction::Completing => "complete",
            };
            format!("{verb} {}, attempt {}, inputs {:?}{recalled}", step_named(step), run.attempt, run.inputs)
        }
        Effect::RecallVote { branch } => format!("recall what {} voted", named(branch)),
        Effect::RecallOutcome { step, attempt } => {
            format!("recall what action {} came to, for attempt {attempt}", step_named(step))
        }
        Effect::StoreEmpty { step } => format!("store that {} is empty", step_named(step)),
        Effect::CloseSaga { attempt_number, tx, .. } => format!("close saga {tx}/{attempt_number}"),
        Effect::ReleaseMarks { attempt_number, tx, .. } => {
            format!("release the semantic locks of {tx}/{attempt_number}")
        }
        Effect::Collect { low_water_mark, .. } => format!("collect below {low_water_mark}"),
        Effect::Answer { operator, answer } => match answer {
            Answer::Resolved(outcome) => format!("answer operator {}: {outcome}", operator.0),
            Answer::Forgotten => format!("answer operator {}: forgotten", operator.0),
            Answer::Released => format!("answer operator {}: released", operator.0),
            Answer::Pinned => format!("answer operator {}: pinned", operator.0),
            Answer::LossAccepted { .. } => unreachable!("nobody is put back in these scripts"),
            Answer::Rejected(rejection) => format!("answer operator {}: rejected: {rejection}", operator.0),
        },
    }
}

fn sent(message: &ToCoordinator) -> String {
    let name = format!("{} {}/{}", message.name(), message.tx(), message.attempt_number());
    match message {
        ToCoordinator::Vote { vote, .. } => format!("{name}: {}", vote_words(vote)),
        ToCoordinator::Confirmed { held, .. } => format!("{name}: held {held}"),
        ToCoordinator::Finished { outcome, .. } => format!("{name}: {outcome}"),
        ToCoordinator::Inquiry { .. } | ToCoordinator::Closed { .. } => name,
        ToCoordinator::Ran { step, attempt, outcome, .. } => {
            format!("{name}/{}, attempt {attempt}: {}", step.0, outcome_words(outcome))
        }
    }
}
