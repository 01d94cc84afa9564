//! Made-up runs.

use crate::plan::{Direction, Fault, Host, Plan, Shape, What, When};
use crate::run::{Call, CallKind, FinalOutcome, Finals, Op, OpenBranch, ParticipantFinal, Reply, Run};
use crate::trace::{BranchState, Entry, Event, Phase};
use Host::{Client, Coordinator, Participant};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Sample {
    trace: Vec<Entry>,
    faults: Vec<Fault>,
    finals: Finals,
    calls: Vec<Call>,
    number: u64,
}

impl Sample {
    pub fn run(&self) -> Run {
        let mut trace = self.trace.clone();
        trace.sort_by_key(|entry| entry.at_us);
        let plan = Plan { seed: 42, shape: Shape::default(), faults: self.faults.clone(), mutant: None };
        let simulated_us = trace.last().map_or(0, |entry| entry.at_us + 1_000);
        Run {
            plan,
            hash: 0,
            simulated_us,
            trace,
            calls: self.calls.clone(),
            finals: self.finals.clone(),
            hits: Vec::new(),
            reached: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, at_us: u64, host: impl Into<Option<Host>>, event: Event) {
        self.trace.push(Entry { at_us, host: host.into(), event });
    }

    pub fn sent(&mut self, at_us: u64, from: Host, to: Host, message: &str, tx: &str) -> u64 {
        self.number += 1;
        let direction = if from == Coordinator { Direction::ToParticipant } else { Direction::ToCoordinator };
        let (message, tx, number) = (message.to_owned(), tx.to_owned(), self.number);
        self.add(at_us, from, Event::Sent { to, direction, message, tx, attempt_number: 5, number });
        number
    }

    pub fn received(&mut self, at_us: u64, from: Host, to: Host, message: &str, tx: &str, of: u64) {
        let (message, tx) = (message.to_owned(), tx.to_owned());
        self.add(at_us, to, Event::Received { from, message, tx, attempt_number: 5, of: Some(of) });
    }

    fn pass(&mut self, sent_us: u64, arrived_us: u64, from: Host, to: Host, message: &str, tx: &str) -> u64 {
        let number = self.sent(sent_us, from, to, message, tx);
        self.received(arrived_us, from, to, message, tx, number);
        number
    }

    /// From the coordinator to the first participant.
    pub fn message(&mut self, at_us: u64, message: &str, tx: &str, arrived_us: Option<u64>) {
        let number = self.sent(at_us, Coordinator, Participant(1), message, tx);
        if let Some(arrived_us) = arrived_us {
            self.received(arrived_us, Coordinator, Participant(1), message, tx, number);
        }
    }

    fn branch(&mut self, at_us: u64, participant: u8, tx: &str, state: BranchState) {
        self.add(at_us, Participant(participant), Event::Branch { tx: tx.to_owned(), state });
    }

    fn note(&mut self, at_us: u64, tx: &str, phase: Phase, note: &str) {
        let (tx, note) = (tx.to_owned(), note.to_owned());
        self.add(at_us, Coordinator, Event::Noted { tx, phase: Some(phase), note });
    }

    fn asks(&mut self, at_us: u64, client: u8, tx: &str) {
        self.add(at_us, Client(client), Event::Requested { tx: tx.to_owned(), what: "submit".to_owned() });
    }

    fn hears(&mut self, at_us: u64, client: u8, tx: &str, answer: &str) {
        self.add(at_us, Client(client), Event::Answered { tx: tx.to_owned(), answer: answer.to_owned() });
    }

    /// Nothing goes wrong.
    pub fn transaction(&mut self, at_us: u64, tx: &str, client: u8) {
        self.asks(at_us, client, tx);
        self.note(at_us + 2_000, tx, Phase::Preparing, "begun: 2 branches");
        for part in [1, 2] {
            let skew = u64::from(part) * 700;
            self.pass(at_us + 2_000, at_us + 5_000 + skew, Coordinator, Participant(part), "prepare", tx);
            self.branch(at_us + 5_000 + skew, part, tx, BranchState::Executing);
            self.branch(at_us + 7_000 + skew, part, tx, BranchState::Prepared);
            self.pass(at_us + 7_000 + skew, at_us + 10_000 + skew, Participant(part), Coordinator, "vote", tx);
        }
        self.note(at_us + 12_000, tx, Phase::LoggingCommit, "decided: committed");
        self.note(at_us + 13_000, tx, Phase::Committing, "logged: committed");
        self.hears(at_us + 16_000, client, tx, "committed");
        for part in [1, 2] {
            let skew = u64::from(part) * 900;
            self.pass(at_us + 13_000, at_us + 17_000 + skew, Coordinator, Participant(part), "commit", tx);
            self.branch(at_us + 17_000 + skew, part, tx, BranchState::Committing);
            self.branch(at_us + 18_000 + skew, part, tx, BranchState::Over);
            self.pass(at_us + 18_000 + skew, at_us + 21_000 + skew, Participant(part), Coordinator, "finished", tx);
        }
        self.note(at_us + 23_000, tx, Phase::Ended, "logged: end");
    }
}

/// A commit is lost in a partition, its repetition never comes: a lock stays for ever.
pub(super) fn failing_run() -> Run {
    let (tx, other) = ("client1-7", "client2-3");
    let mut run = Sample::default();
    run.asks(100_000, 1, tx);
    run.note(103_000, tx, Phase::Preparing, "begun: 2 branches");
    let prepare = run.pass(103_000, 107_000, Coordinator, Participant(1), "prepare", tx);
    run.pass(103_000, 110_000, Coordinator, Participant(2), "prepare", tx);
    for (part, at_us) in [(1, 107_000), (2, 110_000)] {
        run.branch(at_us, part, tx, BranchState::Executing);
        run.branch(at_us + 4_000, part, tx, BranchState::Prepared);
        run.pass(at_us + 4_000, at_us + 9_000, Participant(part), Coordinator, "vote", tx);
        run.note(at_us + 9_000, tx, Phase::Preparing, &format!("voted p{part}: prepared"));
    }
    run.received(118_000, Coordinator, Participant(1), "prepare", tx, prepare);
    run.asks(105_000, 2, other);
    run.note(106_000, other, Phase::Preparing, "begun: 1 branch");
    run.pass(106_000, 112_000, Coordinator, Participant(1), "prepare", other);
    run.branch(112_500, 1, other, BranchState::Executing);
    run.branch(121_000, 1, other, BranchState::Over);
    run.pass(121_000, 124_000, Participant(1), Coordinator, "vote", other);
    run.hears(127_000, 2, other, "aborted (refused)");

    let partition = What::Partition { from: Coordinator, to: Participant(2), one_way: false, for_ms: 200 };
    run.faults.push(Fault { when: When::At { ms: 121 }, what: partition });
    let what = "nothing passes between coordinator and p2".to_owned();
    run.add(121_000, None, Event::Fault { index: 0, what, ends_at_us: Some(321_000) });
    run.note(122_000, tx, Phase::LoggingCommit, "decided: committed");
    run.add(122_400, Coordinator, Event::Disk { what: "sync takes 600 µs".to_owned() });
    run.note(123_000, tx, Phase::Committing, "logged: committed");
    run.pass(123_000, 129_000, Coordinator, Participant(1), "commit", tx);
    run.sent(123_000, Coordinator, Participant(2), "commit", tx);
    run.hears(126_000, 1, tx, "committed");
    run.branch(129_000, 1, tx, BranchState::Committing);
    run.branch(131_000, 1, tx, BranchState::Over);
    run.pass(131_000, 135_000, Participant(1), Coordinator, "finished", tx);

    run.faults.push(Fault {
        when: When::Point { host: Participant(2), point: "vote-stable".to_owned(), count: 3, during: None },
        what: What::Crash { host: Participant(2), power: true, down_ms: 300 },
    });
    let what = "p2 loses power".to_owned();
    run.add(400_000, Participant(2), Event::Fault { index: 1, what, ends_at_us: None });
    run.add(400_000, Participant(2), Event::Crashed { point: Some("vote-stable".to_owned()), power: true });
    run.add(450_000, Participant(1), Event::Paused);
    run.add(470_000, Participant(1), Event::Resumed);
    run.add(700_000, Participant(2), Event::Started);
    run.add(712_000, Participant(2), Event::Serving);
    run.branch(712_000, 2, tx, BranchState::Prepared);
    run.pass(730_000, 735_000, Participant(2), Coordinator, "inquiry", tx);
    run.add(10_000_000, None, Event::Healed);
    run.sent(12_000_000, Participant(2), Coordinator, "inquiry", tx);

    run.finals.participants.insert(1, ParticipantFinal { marks: [tx.to_owned()].into(), ..Default::default() });
    let open = OpenBranch { tx: tx.to_owned(), state: "prepared".to_owned(), orphaned_by_design: false };
    run.finals.participants.insert(2, ParticipantFinal { open: vec![open], ..Default::default() });
    run.finals.outcomes.insert(tx.to_owned(), FinalOutcome::Committed { reads: None, damaged: false });
    let work = [(1, vec![Op::Transfer { account: 2, delta: -5 }]), (2, vec![Op::Transfer { account: 1, delta: 5 }])];
    run.calls.push(Call {
        client: 1,
        tx: tx.to_owned(),
        kind: CallKind::Submit(work.into()),
        asked_us: 100_000,
        told_us: Some(126_000),
        reply: Reply::Committed(None),
    });
    run.run()
}

/// So many transactions, more than 20 entries each.
pub(super) fn long_run(transactions: u64) -> Run {
    let mut run = Sample::default();
    for number in 0..transactions {
        run.transaction(number * 9_000, &format!("tx-{number}"), (number % 3) as u8 + 1);
    }
    run.run()
}
