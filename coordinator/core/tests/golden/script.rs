//! Drives a coordinator and writes down, in words, what it is told and what it wants done.

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use undoubt_coordinator_core::{
    Answer, Client, Content, Coordinator, Effect, EndedRecord, Input, JoinedRecord, Limits, OpenRecord, OpenedRecord,
    Record, Request, SagaRecord, StepResolution, Submission, Timer, Unfinished,
};
use undoubt_vocabulary::{
    Abilities, AttemptNumber, BranchOutcome, Direction, Epoch, EventKind, Execution, Outcome, ParticipantName, Refusal,
    RefusalCode, RunStep, SagaStep, StepIndex, StepOutcome, Timestamp, ToCoordinator, ToParticipant, TxId, Vote,
};

/// Step, direction and attempt.
pub type Run = (u16, Direction, u32);

pub struct Script {
    coordinator: Coordinator,
    now: Timestamp,
    ended: BTreeMap<TxId, EndedRecord>,
    unstable: VecDeque<Record>,
    /// The stored records of open sagas: the header, and each step.
    open_sagas: BTreeMap<TxId, (OpenedRecord, BTreeMap<StepIndex, JoinedRecord>)>,
    pub text: String,
}

impl Script {
    /// A coordinator in its first epoch, connected to `a` and `b`.
    pub fn new() -> Script {
        Script::passing(1_000)
    }

    /// The same, whose low-water marks pass an attempt of an open saga once more than so many were given out after it.
    pub fn passing(old_after_attempts: u64) -> Script {
        let mut script = Script::beginning(1, old_after_attempts);
        script.tell("the log is read", Input::RecoveryDone { paused: false });
        script.connect("a");
        script.connect("b");
        script
    }

    /// A coordinator that starts in this epoch and finds these records in its log.
    pub fn recovering(epoch: u32, log: &[Unfinished]) -> Script {
        let mut script = Script::beginning(epoch, 1_000);
        for record in log {
            if let Unfinished::Opened(header, steps) = record {
                let steps = steps.iter().map(|step| (step.index, step.clone())).collect();
                script.open_sagas.insert(header.tx.clone(), (header.clone(), steps));
            }
            let found = format!("found in the log: {}", unfinished(record));
            script.tell(&found, Input::Recovered(record.clone()));
        }
        script
    }

    fn beginning(epoch: u32, old_after_attempts: u64) -> Script {
        let limits = Limits {
            max_begun_transactions: 10,
            max_open_transactions: 8,
            max_open_bytes: 1 << 30,
            max_gathered_bytes: 1 << 30,
            breaker_threshold: 2,
            breaker_pause: Duration::from_secs(10),
            old_after_attempts,
        };
        let coordinator = Coordinator::new(Epoch(epoch), limits);
        let now = Timestamp(1_000_000 * u64::from(epoch));
        let (ended, unstable, open_sagas, text) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new(), String::new());
        Script { coordinator, now, ended, unstable, open_sagas, text }
    }

    /// Tells it, and writes the line and the effects.
    pub fn tell(&mut self, line: &str, input: Input) {
        self.write(line);
        self.handle(input);
    }

    fn handle(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.coordinator.handle_input(self.now, input, &mut effects);
        for effect in effects {
            if let Some(line) = words(&effect) {
                self.write(&format!("    {line}"));
            }
            match effect {
                Effect::Append { record, .. } => self.unstable.push_back(record),
                Effect::LookUp(request) => {
                    let ended = self.ended.get(request.tx()).cloned();
                    self.handle(Input::LookedUp { request, ended });
                }
                Effect::Send { .. }
                | Effect::Answer { .. }
                | Effect::Arm { .. }
                | Effect::Note { .. }
                | Effect::Retired { .. } => {}
            }
        }
    }

    pub fn connect(&mut self, name: &str) {
        let input = Input::Connected { participant: participant(name), abilities: Abilities::ALL };
        self.tell(&format!("{name} is connected"), input);
    }

    pub fn connect_unable(&mut self, name: &str) {
        self.connect_with(name, "cannot prepare", Abilities { two_phase: false, ..Abilities::ALL });
    }

    pub fn connect_with(&mut self, name: &str, what: &str, abilities: Abilities) {
        let input = Input::Connected { participant: participant(name), abilities };
        self.tell(&format!("{name} is connected, and {what}"), input);
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.write(&format!("{seconds} seconds pass"));
    }

    pub fn submit(&mut self, client: u64, id: &str, content: u8, branches: &[&str]) {
        let line = format!("client {client} submits {id} for {}, content {content}", branches.join(" "));
        let work = branches.iter().map(|name| (participant(name), Bytes::from_static(b"work"))).collect();
        self.submit_content(&line, client, id, content, Content::TwoPhase(work));
    }

    pub fn submit_saga(&mut self, client: u64, id: &str, steps: &[SagaStep]) {
        let line = format!("client {client} submits {id} as a saga of {}", names(steps));
        self.submit_content(&line, client, id, 1, Content::Saga(steps.to_vec()));
    }

    pub fn submit_auto(&mut self, client: u64, id: &str, steps: &[SagaStep], two_phase_only: Option<&'static str>) {
        let only = if two_phase_only.is_some() { ", never as a saga" } else { "" };
        let line = format!("client {client} submits {id}, either way, of {}{only}", names(steps));
        self.submit_content(&line, client, id, 1, Content::Auto { steps: steps.to_vec(), two_phase_only });
    }

    fn submit_content(&mut self, line: &str, client: u64, id: &str, digest: u8, content: Content) {
        let submission = Submission {
            tx: tx(id),
            digest: [digest; 32],
            content,
            timeout: Duration::from_secs(5),
            client: Client(client),
            wait: true,
        };
        self.tell(line, Input::Request(Request::Submit(submission)));
    }

    pub fn cancel(&mut self, client: u64, id: &str) {
        let request = Request::Cancel { tx: tx(id), client: Client(client) };
        self.tell(&format!("client {client} cancels {id}"), Input::Request(request));
    }

    pub fn forget(&mut self, client: u64, id: &str) {
        let request = Request::Forget { tx: tx(id), client: Client(client) };
        self.tell(&format!("client {client} would forget {id}"), Input::Request(request));
    }

    pub fn resolve(&mut self, client: u64, id: &str, step: &str, resolution: StepResolution) {
        let line = format!("client {client} resolves {step} of {id}: {resolution}");
        let request = Request::ResolveStep {
            tx: tx(id),
            step: step.parse().expect("a valid name"),
            resolution,
            client: Client(client),
        };
        self.tell(&line, Input::Request(request));
    }

    pub fn show(&mut self, id: &str) {
        let view = self.coordinator.view(&tx(id)).expect("it is open");
        let branch = |branch: &undoubt_coordinator_core::BranchView| {
            let name = branch.step.as_ref().map_or(branch.participant.as_str(), |step| step.as_str());
            let outcome = branch.outcome.map(|outcome| format!(" ({outcome})")).unwrap_or_default();
            format!("{name} {}{outcome}", branch.state)
        };
        let branches: Vec<String> = view.branches.iter().map(branch).collect();
        let line = format!("    = {}: {}; {}", view.phase, branches.join(", "), self.low_water_marks());
        self.write(&line);
    }

    pub fn show_low_water_marks(&mut self) {
        let line = format!("    = {}", self.low_water_marks());
        self.write(&line);
    }

    fn low_water_marks(&self) -> String {
        let of = |name: &str| format!("{name} {}", self.coordinator.low_water_mark(&participant(name)));
        format!("low-water marks {}", ["a", "b"].map(of).join(", "))
    }

    /// Every record that was appended until now is on stable storage.
    pub fn all_stable(&mut self) {
        for _ in 0..self.unstable.len() {
            self.stable();
        }
    }

    /// The oldest record that was appended is on stable storage.
    pub fn stable(&mut self) {
        let record = self.unstable.pop_front().expect("something was appended");
        let (tx, attempt_number, stage) = (record.tx().clone(), record.attempt_number(), record.stage());
        match record {
            Record::Ended(ended) => {
                self.open_sagas.remove(&tx);
                self.ended.insert(tx.clone(), ended);
            }
            Record::Opened(header) => {
                let open = self.open_sagas.entry(tx.clone()).or_insert_with(|| (header.clone(), BTreeMap::new()));
                open.0 = header;
            }
            Record::Joined(joined) => {
                let (_, steps) = self.open_sagas.get_mut(&tx).expect("its saga has begun");
                steps.insert(joined.index, joined);
            }
            Record::Open(_) | Record::Saga(_) => {}
        }
        self.tell(&format!("stable: {tx}/{attempt_number} {stage:?}"), Input::Appended { tx, attempt_number, stage });
    }

    /// Returns the number of records that are not stable.
    pub fn unstable(&self) -> usize {
        self.unstable.len()
    }

    /// Returns what a start would find of this open saga.
    pub fn stored(&self, id: &str) -> Option<Unfinished> {
        let (header, steps) = self.open_sagas.get(&tx(id))?;
        Some(Unfinished::Opened(header.clone(), steps.values().cloned().collect()))
    }

    pub fn fire(&mut self, id: &str, attempt_number: AttemptNumber, timer: Timer) {
        self.tell(
            &format!("fires: {timer:?} of {id}/{attempt_number}"),
            Input::Fired { tx: tx(id), attempt_number, timer },
        );
    }

    pub fn hear(&mut self, from: &str, message: ToCoordinator) {
        let line = format!("{from} says {}", said(&message));
        self.tell(&line, Input::Request(Request::Message { from: participant(from), message }));
    }

    pub fn vote(&mut self, from: &str, id: &str, attempt_number: AttemptNumber, vote: Vote) {
        self.hear(from, ToCoordinator::Vote { tx: tx(id), attempt_number, vote });
    }

    pub fn ran(
        &mut self,
        from: &str,
        id: &str,
        attempt_number: AttemptNumber,
        (step, direction, attempt): Run,
        outcome: StepOutcome,
    ) {
        let step = StepIndex(step);
        self.hear(from, ToCoordinator::Ran { tx: tx(id), attempt_number, step, direction, attempt, outcome });
    }

    pub fn acted(&mut self, from: &str, id: &str, attempt_number: AttemptNumber, step: u16, result: &'static str) {
        self.ran(from, id, attempt_number, (step, Direction::Forward, 1), done(result));
    }

    pub fn compensated(&mut self, from: &str, id: &str, attempt_number: AttemptNumber, step: u16) {
        self.ran(from, id, attempt_number, (step, Direction::Compensating, 1), done(""));
    }

    pub fn closed(&mut self, from: &str, id: &str, attempt_number: AttemptNumber) {
        self.hear(from, ToCoordinator::Closed { tx: tx(id), attempt_number });
    }

    pub fn inquiry(&mut self, from: &str, id: &str, attempt_number: AttemptNumber) {
        self.hear(from, ToCoordinator::Inquiry { tx: tx(id), attempt_number });
    }

    pub fn finished(&mut self, from: &str, id: &str, attempt_number: AttemptNumber, outcome: BranchOutcome) {
        self.hear(from, ToCoordinator::Finished { tx: tx(id), attempt_number, outcome });
    }

    fn write(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub fn view(&self) -> Coordinator {
        self.coordinator.clone()
    }
}

pub fn tx(id: &str) -> TxId {
    id.parse().expect("a valid id")
}

pub fn participant(name: &str) -> ParticipantName {
    name.parse().expect("a valid name")
}

pub fn attempt_number(epoch: u32, number: u64) -> AttemptNumber {
    AttemptNumber(AttemptNumber::first_of(Epoch(epoch)).0 + number)
}

pub fn prepared(result: &'static str) -> Vote {
    Vote::Prepared { result: Bytes::from_static(result.as_bytes()) }
}

pub fn read_only(result: &'static str) -> Vote {
    Vote::ReadOnly { result: Bytes::from_static(result.as_bytes()) }
}

pub fn refused(code: RefusalCode) -> Vote {
    Vote::Refused(Refusal::new(code, "because"))
}

pub fn done(result: &'static str) -> StepOutcome {
    StepOutcome::Done { result: Bytes::from_static(result.as_bytes()), pending: false }
}

fn names(steps: &[SagaStep]) -> String {
    steps.iter().map(|step| format!("{} at {}", step.name, step.participant)).collect::<Vec<_>>().join(", ")
}

fn said(message: &ToCoordinator) -> String {
    let name = format!("{} {}/{}", message.name(), message.tx(), message.attempt_number());
    match message {
        ToCoordinator::Vote { vote, .. } => match vote {
            Vote::Prepared { result } => format!("{name}: prepared, {result:?}"),
            Vote::ReadOnly { result } => format!("{name}: read-only, {result:?}"),
            Vote::Committed { result } => format!("{name}: committed, {result:?}"),
            Vote::Refused(refusal) => format!("{name}: refused, {refusal}"),
        },
        ToCoordinator::Confirmed { held, .. } => format!("{name}: held {held}"),
        ToCoordinator::Finished { outcome, .. } => format!("{name}: {outcome}"),
        ToCoordinator::Ran { step, attempt, outcome, .. } => {
            let outcome = match outcome {
                StepOutcome::Done { result, pending: false } => format!("done, {result:?}"),
                StepOutcome::Done { result, pending: true } => format!("done with locks, {result:?}"),
                StepOutcome::Empty => "empty".to_owned(),
                StepOutcome::Refused(refusal) => format!("refused, {refusal}"),
            };
            format!("{name} step {} attempt {attempt}: {outcome}", step.0)
        }
        ToCoordinator::Inquiry { .. } | ToCoordinator::Closed { .. } => name,
    }
}

/// `None` for what the line before says already.
fn words(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Append { record: Record::Open(record), forced } => format!("append{} {}", force(*forced), open(record)),
        Effect::Append { record: Record::Saga(record), forced } => format!("append{} {}", force(*forced), saga(record)),
        Effect::Append { record: Record::Opened(record), forced } => {
            format!("append{} {}", force(*forced), opened(record))
        }
        Effect::Append { record: Record::Joined(record), forced } => {
            format!("append{} {}", force(*forced), joined(record))
        }
        Effect::Append { record: Record::Ended(record), forced } => {
            format!("append{} {}", force(*forced), ended(record))
        }
        Effect::Send { to, message } => format!("send {to} {}", sent(message)),
        Effect::Answer { client, tx, answer } => format!("answer client {} about {tx}: {}", client.0, answered(answer)),
        Effect::Arm { tx, attempt_number, timer } => format!("arm {timer:?} of {tx}/{attempt_number}"),
        Effect::LookUp(request) => format!("look up {}", request.tx()),
        Effect::Note { note, .. } if note.kind() == EventKind::Sent => return None,
        Effect::Note { note, .. } => {
            let by = note.participant().map(|name| format!(" {name}")).unwrap_or_default();
            format!("note {}{by} {note}", note.kind()).trim_end().to_owned()
        }
        Effect::Retired { tx } => format!("retired {tx}"),
    })
}

fn force(forced: bool) -> &'static str {
    if forced { ", forced:" } else { ", lazily:" }
}

fn unfinished(record: &Unfinished) -> String {
    match record {
        Unfinished::TwoPhase(record) => open(record),
        Unfinished::Saga(record) => saga(record),
        Unfinished::Opened(record, steps) => {
            let steps: Vec<String> = steps.iter().map(joined).collect();
            format!("{}; {}", opened(record), steps.join("; "))
        }
        Unfinished::Unusable(record) => format!("Unusable {}/{}: {}", record.tx, record.attempt_number, record.cause),
    }
}

fn saga(record: &SagaRecord) -> String {
    let SagaRecord { tx, attempt_number, compensating, progress, .. } = record;
    let compensating = compensating.as_ref().map(|reason| format!(" compensating, {reason}")).unwrap_or_default();
    format!("Saga {tx}/{attempt_number}{compensating}; {progress:?}")
}

fn opened(OpenedRecord { tx, attempt_number, terms, state, .. }: &OpenedRecord) -> String {
    format!("Opened {tx}/{attempt_number}, completed {:?}: {state:?}", terms.completions)
}

fn joined(JoinedRecord { tx, attempt_number, index, step, at_participant, progress, .. }: &JoinedRecord) -> String {
    let (index, name, at) = (index.0, &step.name, &step.participant);
    format!("Joined {tx}/{attempt_number} step {index} {name} at {at} as {at_participant}: {progress:?}")
}

fn open(record: &OpenRecord) -> String {
    let OpenRecord { kind, tx, attempt_number, participants, read_only, results, .. } = record;
    format!("{kind:?} {tx}/{attempt_number} of {participants:?}, read-only {read_only:?}, results {results:?}")
}

fn ended(record: &EndedRecord) -> String {
    let EndedRecord { saga, tx, attempt_number, outcome, branches, results, .. } = record;
    let way = if *saga { " as a saga" } else { "" };
    let damaged = if record.is_damaged() { ", DAMAGED" } else { "" };
    let branches: Vec<_> = branches.iter().map(|branch| format!("({}, {:?})", branch.name(), branch.outcome)).collect();
    let branches = branches.join(", ");
    format!("Ended {tx}/{attempt_number}{way} {outcome}; [{branches}], results {results:?}{damaged}")
}

fn sent(message: &ToParticipant) -> String {
    let name = format!("{} {}/{}", message.name(), message.tx(), message.attempt_number());
    match message {
        ToParticipant::Prepare(prepare) => match prepare.execution {
            Execution::TwoPhase => format!("{name} within {:?}", prepare.timeout),
            Execution::OnePhase => format!("{name} in one phase, within {:?}", prepare.timeout),
        },
        ToParticipant::Run(RunStep { step, attempt, work, inputs, .. }) => {
            format!("{name} step {} attempt {attempt}: {work:?} with {inputs:?}", step.0)
        }
        ToParticipant::Abort { certain: false, .. } => format!("{name}, or its commit is forgotten"),
        ToParticipant::Confirm { .. }
        | ToParticipant::Commit { .. }
        | ToParticipant::Abort { certain: true, .. }
        | ToParticipant::Settle { .. }
        | ToParticipant::Undecided { .. }
        | ToParticipant::Noted { .. }
        | ToParticipant::Close { .. } => name,
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Outcome { outcome: Outcome::Committed, results } => format!("committed, results {results:?}"),
        Answer::Outcome { outcome, .. } => outcome.to_string(),
        Answer::Pending => "pending".to_owned(),
        Answer::Closed => "closed, until its parent ends".to_owned(),
        Answer::Step(step) => format!("{step:?}"),
        Answer::Stuck(stuck) => format!("stuck: {stuck}"),
        Answer::Rejected(rejection) => format!("rejected: {rejection}"),
    }
}
