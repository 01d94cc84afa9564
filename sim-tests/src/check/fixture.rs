//! Tiny runs for the tests of checkers: one transaction after the other, as servers without faults would run them.

use super::{Checker, Violation};
use crate::plan::{Direction, Host, Plan, Shape};
use crate::run::{
    Call, CallKind, FinalOutcome, Finals, Op, Participant, ParticipantFinal, Reads, Recovery, Reply, Run, Work,
};
use crate::trace::{BranchState, Entry, Event, Phase};
use std::collections::BTreeMap;

pub(crate) const PARTICIPANTS: u8 = 3;
pub(crate) const KEYS: u8 = 2;

/// Three participants with two accounts and two registers each. Every step takes a millisecond.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    run: Run,
    now_us: u64,
    attempt_number: u64,
}

impl Default for Fixture {
    fn default() -> Self {
        let shape = Shape { participants: PARTICIPANTS, keys: KEYS, ..Shape::default() };
        let accounts = || (0..KEYS).map(|account| (account, Op::OPENING_BALANCE)).collect();
        let fresh = |participant| (participant, ParticipantFinal { accounts: accounts(), ..Default::default() });
        let finals = Finals {
            settled_after_us: Some(1),
            participants: (1..=PARTICIPANTS).map(fresh).collect(),
            probe: Some(Reply::Committed(None)),
            recoveries: vec![Recovery { host: Host::Coordinator, difference: None }],
            ..Finals::default()
        };
        let plan = Plan { seed: 1, shape, faults: Vec::new(), mutant: None };
        let run = Run {
            plan,
            hash: 0,
            simulated_us: 0,
            trace: Vec::new(),
            calls: Vec::new(),
            finals,
            hits: Vec::new(),
            reached: BTreeMap::new(),
        };
        Fixture { run, now_us: 0, attempt_number: 1 << 40 }
    }
}

impl Fixture {
    pub(crate) fn commit(mut self, tx: &str, work: Work) -> Self {
        self.ask(tx, CallKind::Submit(work.clone()));
        self.prepare(tx, &work);
        let reads = self.execute(tx, &work);
        self.note(tx, Some(Phase::LoggingCommit), "decided committed");
        self.note(tx, Some(Phase::Committing), "logged committed");
        self.decide(tx, &work, "commit", BranchState::Committing);
        let outcome = FinalOutcome::Committed { reads: Some(reads.clone()), damaged: false };
        self.run.finals.outcomes.insert(tx.into(), outcome);
        self.told(Reply::Committed(Some(reads)))
    }

    pub(crate) fn abort(mut self, tx: &str, work: Work) -> Self {
        self.ask(tx, CallKind::Submit(work.clone()));
        self.prepare(tx, &work);
        self.note(tx, Some(Phase::LoggingEnd), "decided aborted: the deadline passed");
        self.decide(tx, &work, "abort", BranchState::Aborting);
        self.run.finals.outcomes.insert(tx.into(), FinalOutcome::Aborted { damaged: false });
        self.told(Reply::Aborted("deadline".into()))
    }

    /// Submits once more, with other work.
    pub(crate) fn other(mut self, tx: &str, work: Work, reply: Reply) -> Self {
        self.ask(tx, CallKind::SubmitOther(work));
        self.told(reply)
    }

    /// Asks what became of it.
    pub(crate) fn again(mut self, tx: &str, reply: Reply) -> Self {
        self.ask(tx, CallKind::Ask);
        self.told(reply)
    }

    pub(crate) fn run(mut self) -> Run {
        self.record(None, Event::Healed);
        self.run.simulated_us = self.now_us;
        self.run
    }

    fn record(&mut self, host: Option<Host>, event: Event) {
        self.now_us += 1_000;
        self.run.trace.push(Entry { at_us: self.now_us, host, event });
    }

    fn ask(&mut self, tx: &str, kind: CallKind) {
        self.record(Some(Host::Client(1)), Event::Requested { tx: tx.into(), what: "asked".into() });
        let asked_us = self.now_us;
        let reply = Reply::Unknown("not yet".into());
        self.run.calls.push(Call { client: 1, tx: tx.into(), kind, asked_us, told_us: None, reply });
    }

    fn told(mut self, reply: Reply) -> Self {
        let tx = self.run.calls.last().unwrap().tx.clone();
        self.record(Some(Host::Client(1)), Event::Answered { tx, answer: "told".into() });
        let call = self.run.calls.last_mut().unwrap();
        (call.told_us, call.reply) = (Some(self.now_us), reply);
        self
    }

    fn prepare(&mut self, tx: &str, work: &Work) {
        self.attempt_number += 1;
        self.note(tx, Some(Phase::Preparing), &format!("begun {} branches", work.len()));
        for participant in work.keys() {
            self.send(tx, *participant, "prepare");
            self.branch(tx, *participant, BranchState::Prepared);
        }
    }

    fn decide(&mut self, tx: &str, work: &Work, message: &str, state: BranchState) {
        for participant in work.keys() {
            self.send(tx, *participant, message);
            self.branch(tx, *participant, state);
            self.branch(tx, *participant, BranchState::Over);
        }
        self.note(tx, Some(Phase::Ended), "logged ended");
    }

    fn note(&mut self, tx: &str, phase: Option<Phase>, note: &str) {
        self.record(Some(Host::Coordinator), Event::Noted { tx: tx.into(), phase, note: note.into() });
    }

    fn branch(&mut self, tx: &str, participant: Participant, state: BranchState) {
        self.record(Some(Host::Participant(participant)), Event::Branch { tx: tx.into(), state });
    }

    fn send(&mut self, tx: &str, participant: Participant, message: &str) {
        let (entry, number) =
            (sent(self.now_us, tx, participant, message, self.attempt_number), self.run.trace.len() as u64);
        let mut event = entry.event;
        if let Event::Sent { number: its, .. } = &mut event {
            *its = number;
        }
        self.record(Some(Host::Coordinator), event);
    }

    fn execute(&mut self, tx: &str, work: &Work) -> Reads {
        let finals = &mut self.run.finals.participants;
        let mut reads = Reads::new();
        for (participant, ops) in work {
            let found = finals.get_mut(participant).unwrap();
            reads.insert(*participant, ops.iter().map(|op| apply(found, tx, op)).collect());
            if ops.iter().any(Op::writes) {
                found.marks.insert(tx.into());
            }
        }
        reads
    }
}

fn apply(found: &mut ParticipantFinal, tx: &str, op: &Op) -> Option<String> {
    match op {
        Op::Transfer { account, delta } => {
            let balance = found.accounts.get_mut(account).unwrap();
            *balance += delta;
            Some(balance.to_string())
        }
        Op::ReadAccount { account } => found.accounts.get(account).map(i64::to_string),
        Op::ReadWrite { register } => found.registers.insert(*register, tx.into()),
        Op::ReadRegister { register } => found.registers.get(register).cloned(),
    }
}

/// The coordinator says something to a participant.
pub(crate) fn sent(at_us: u64, tx: &str, participant: Participant, message: &str, attempt_number: u64) -> Entry {
    let (to, direction) = (Host::Participant(participant), Direction::ToParticipant);
    let (tx, message) = (tx.to_owned(), message.to_owned());
    let event = Event::Sent { to, direction, message, tx, attempt_number, number: 0 };
    Entry { at_us, host: Some(Host::Coordinator), event }
}

/// Returns a transfer from account 0 of one participant to account 0 of the other.
pub(crate) fn transfer(from: Participant, to: Participant, amount: i64) -> Work {
    let move_by = |delta| vec![Op::Transfer { account: 0, delta }];
    Work::from([(from, move_by(-amount)), (to, move_by(amount))])
}

/// The same, and something at the third participant.
pub(crate) fn other_work_of(work: &Work) -> Work {
    let mut other = work.clone();
    other.insert(3, vec![Op::ReadWrite { register: 1 }]);
    other
}

/// Reads and writes register 0 of each.
pub(crate) fn read_write(participants: &[Participant]) -> Work {
    participants.iter().map(|participant| (*participant, vec![Op::ReadWrite { register: 0 }])).collect()
}

/// Reads all accounts of the participants.
pub(crate) fn audit(participants: &[Participant]) -> Work {
    let all = || (0..KEYS).map(|account| Op::ReadAccount { account }).collect();
    participants.iter().map(|participant| (*participant, all())).collect()
}

/// Returns a run with something of everything.
pub(crate) fn healthy() -> Run {
    Fixture::default()
        .commit("t1", transfer(1, 2, 10))
        .commit("t2", read_write(&[1, 2]))
        .abort("t3", transfer(2, 1, 5))
        .again("t3", Reply::Aborted("deadline".into()))
        .commit("t4", read_write(&[2, 3]))
        .commit("t5", audit(&[1, 2, 3]))
        .commit("t6", audit(&[1, 2]))
        .other("t2", transfer(1, 3, 1), Reply::Refused("other content".into()))
        .commit("t7", read_write(&[1]))
        .run()
}

/// The rules that a checker finds broken, in its order.
pub(crate) fn rules(check: Checker, run: &Run) -> Vec<&'static str> {
    check(run).iter().map(|Violation { rule, .. }| *rule).collect()
}
