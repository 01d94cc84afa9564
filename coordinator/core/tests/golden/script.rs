//! Drives a coordinator and writes down, in words, what it is told and what it wants done.

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use undoubt_coordinator_core::{
    Answer, Client, Coordinator, Effect, EndedRecord, Input, Limits, OpenRecord, Question, Record, Submission, Timer,
};
use undoubt_vocabulary::{
    BranchOutcome, Epoch, Execution, Outcome, ParticipantName, Refusal, RefusalCode, Ticket, Timestamp, ToCoordinator,
    ToParticipant, TxId, Vote,
};

pub struct Script {
    coordinator: Coordinator,
    epoch: u32,
    ended: BTreeMap<TxId, EndedRecord>,
    unstable: VecDeque<Record>,
    pub text: String,
}

impl Script {
    /// A coordinator in its first epoch, connected to `a` and `b`.
    pub fn new() -> Script {
        let mut script = Script::recovering(1, &[]);
        script.tell("the log is read", Input::RecoveryDone { paused: false });
        script.connect("a");
        script.connect("b");
        script
    }

    /// A coordinator that starts in this epoch and finds these records in its log.
    pub fn recovering(epoch: u32, log: &[OpenRecord]) -> Script {
        let coordinator = Coordinator::new(Epoch(epoch), Limits { max_open_transactions: 8 });
        let (ended, unstable, text) = (BTreeMap::new(), VecDeque::new(), String::new());
        let mut script = Script { coordinator, epoch, ended, unstable, text };
        for record in log {
            let found = format!("found in the log: {}", open(record));
            script.tell(&found, Input::Recovered(record.clone()));
        }
        script
    }

    /// Tells it, and writes the line and the effects.
    pub fn tell(&mut self, line: &str, input: Input) {
        self.write(line);
        self.handle(input);
    }

    fn handle(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.coordinator.handle(Timestamp(1_000_000 * u64::from(self.epoch)), input, &mut effects);
        for effect in effects {
            if let Some(line) = words(&effect) {
                self.write(&format!("    {line}"));
            }
            match effect {
                Effect::Append { record, .. } => self.unstable.push_back(record),
                Effect::LookUp(question) => {
                    let ended = self.ended.get(question.tx()).cloned();
                    self.handle(Input::LookedUp { question, ended });
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
        self.tell(&format!("{name} is connected"), Input::Connected { participant: participant(name) });
    }

    pub fn submit(&mut self, client: u64, id: &str, content: u8, branches: &[&str]) {
        let submission = Submission {
            tx: tx(id),
            digest: [content; 32],
            branches: branches.iter().map(|name| (participant(name), Bytes::from_static(b"work"))).collect(),
            timeout: Duration::from_secs(5),
            client: Client(client),
            wait: true,
        };
        let line = format!("client {client} submits {id} for {}, content {content}", branches.join(" "));
        self.tell(&line, Input::Asked(Question::Submit(submission)));
    }

    /// The oldest record that was appended is on stable storage.
    pub fn stable(&mut self) {
        let record = self.unstable.pop_front().expect("something was appended");
        let (tx, ticket, stage) = (record.tx().clone(), record.ticket(), record.stage());
        if let Record::Ended(ended) = record {
            self.ended.insert(tx.clone(), ended);
        }
        self.tell(&format!("stable: {tx}/{ticket} {stage:?}"), Input::Appended { tx, ticket, stage });
    }

    pub fn fire(&mut self, id: &str, ticket: Ticket, timer: Timer) {
        self.tell(&format!("fires: {timer:?} of {id}/{ticket}"), Input::Fired { tx: tx(id), ticket, timer });
    }

    pub fn hear(&mut self, from: &str, message: ToCoordinator) {
        let line = format!("{from} says {}", said(&message));
        self.tell(&line, Input::Asked(Question::Received { from: participant(from), message }));
    }

    pub fn vote(&mut self, from: &str, id: &str, ticket: Ticket, vote: Vote) {
        self.hear(from, ToCoordinator::Vote { tx: tx(id), ticket, vote });
    }

    pub fn finished(&mut self, from: &str, id: &str, ticket: Ticket, outcome: BranchOutcome) {
        self.hear(from, ToCoordinator::Finished { tx: tx(id), ticket, outcome });
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

pub fn ticket(epoch: u32, number: u64) -> Ticket {
    Ticket(Ticket::first_of(Epoch(epoch)).0 + number)
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

fn said(message: &ToCoordinator) -> String {
    let name = format!("{} {}/{}", message.name(), message.tx(), message.ticket());
    match message {
        ToCoordinator::Vote { vote, .. } => match vote {
            Vote::Prepared { result } => format!("{name}: prepared, {result:?}"),
            Vote::ReadOnly { result } => format!("{name}: read-only, {result:?}"),
            Vote::Committed { result } => format!("{name}: committed, {result:?}"),
            Vote::Refused(refusal) => format!("{name}: refused, {refusal}"),
        },
        ToCoordinator::Confirmed { held, .. } => format!("{name}: held {held}"),
        ToCoordinator::Finished { outcome, .. } => format!("{name}: {outcome}"),
        ToCoordinator::Inquiry { .. } => name,
    }
}

/// `None` for what the line before says already.
fn words(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Append { record: Record::Open(record), forced } => format!("append{} {}", force(*forced), open(record)),
        Effect::Append { record: Record::Ended(record), forced } => {
            format!("append{} {}", force(*forced), ended(record))
        }
        Effect::Send { to, message } => format!("send {to} {}", sent(message)),
        Effect::Answer { client, tx, answer } => format!("answer client {} about {tx}: {}", client.0, answered(answer)),
        Effect::Arm { tx, ticket, timer } => format!("arm {timer:?} of {tx}/{ticket}"),
        Effect::LookUp(question) => format!("look up {}", question.tx()),
        Effect::Note { note: undoubt_coordinator_core::Note::Sent { .. }, .. } => return None,
        Effect::Note { note, .. } => {
            let by = note.participant().map(|name| format!(" {name}")).unwrap_or_default();
            format!("note {}{by} {note}", note.event()).trim_end().to_owned()
        }
        Effect::Retired { tx } => format!("retired {tx}"),
    })
}

fn force(forced: bool) -> &'static str {
    if forced { ", forced:" } else { ", lazily:" }
}

fn open(record: &OpenRecord) -> String {
    let OpenRecord { kind, tx, ticket, participants, read_only, results, .. } = record;
    format!("{kind:?} {tx}/{ticket} of {participants:?}, read-only {read_only:?}, results {results:?}")
}

fn ended(record: &EndedRecord) -> String {
    let EndedRecord { tx, ticket, outcome, branches, results, .. } = record;
    let damaged = if record.is_damaged() { ", DAMAGED" } else { "" };
    format!("Ended {tx}/{ticket} {outcome}; {branches:?}, results {results:?}{damaged}")
}

fn sent(message: &ToParticipant) -> String {
    let name = format!("{} {}/{}", message.name(), message.tx(), message.ticket());
    match message {
        ToParticipant::Prepare(prepare) => match prepare.execution {
            Execution::TwoPhase => format!("{name} within {:?}", prepare.timeout),
            Execution::OnePhase => format!("{name} in one phase, within {:?}", prepare.timeout),
        },
        ToParticipant::Confirm { .. }
        | ToParticipant::Commit { .. }
        | ToParticipant::Abort { .. }
        | ToParticipant::Settle { .. }
        | ToParticipant::Undecided { .. }
        | ToParticipant::Noted { .. } => name,
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Outcome { outcome: Outcome::Committed, results } => format!("committed, results {results:?}"),
        Answer::Outcome { outcome, .. } => outcome.to_string(),
        Answer::Pending => "pending".to_owned(),
        Answer::Rejected(rejection) => format!("rejected: {rejection}"),
    }
}
