//! A run as a history of registers: who read and who wrote which version, and what follows from that.

use super::cycle::{Cycle, Edge, Item, Kind};
use super::versions::{Version, Writers, following};
use super::{Anomaly, AnomalyKind};
use crate::check::facts::{Transaction, transactions};
use crate::check::losses;
use crate::run::{FinalOutcome, Op, Participant, Run};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct History<'a> {
    /// Committed transactions; the end comes behind the last of them.
    nodes: Vec<Node<'a>>,
    registers: BTreeMap<Item, Register<'a>>,
    /// Transactions that nothing is promised for. Their versions keep their place.
    left_out: BTreeSet<&'a str>,
    fuzzy: Vec<Anomaly>,
    /// Participants that have lost versions: their registers are left out.
    losers: BTreeSet<Participant>,
}

#[derive(Debug)]
struct Node<'a> {
    tx: &'a str,
    asked_us: u64,
    told_us: Option<u64>,
}

#[derive(Debug, Default)]
struct Register<'a> {
    writers: Writers<'a>,
    /// The readers by node; the end reads what was found when all was over.
    readers: BTreeSet<(usize, Version<'a>)>,
    last: Option<Version<'a>>,
}

impl<'a> History<'a> {
    pub(super) fn of(run: &'a Run) -> History<'a> {
        let mut history = History { losers: losses::losers(run), ..History::default() };
        let committed = |transaction: &Transaction<'_>| {
            transaction.told_committed_us().is_some()
                || matches!(transaction.outcome(), FinalOutcome::Committed { .. })
                || transaction.marked().next().is_some()
        };
        for transaction in transactions(run).into_values() {
            let (tx, told_us) = (transaction.tx, transaction.told_committed_us());
            if transaction.is_excused() || transaction.has_heuristics() || transaction.has_met_other_hands() {
                history.left_out.insert(tx);
                history.take(run, &transaction, None);
            } else if committed(&transaction) {
                history.nodes.push(Node { tx, asked_us: transaction.asked_us(), told_us });
                history.take(run, &transaction, Some(history.nodes.len() - 1));
            }
        }
        history.left_out.extend(run.finals.excused.iter().map(String::as_str));
        history.left_out.extend(losses::lost_by_coordinator(run));
        history.end(run);
        history
    }

    fn take(&mut self, run: &'a Run, transaction: &Transaction<'a>, node: Option<usize>) {
        for (participant, ops) in transaction.work().into_iter().flatten() {
            if self.losers.contains(participant) {
                continue;
            }
            let found = run.finals.participants.get(participant);
            let took_effect = found.map_or(node.is_some(), |found| found.marks.contains(transaction.tx));
            let (tx, participant) = (transaction.tx, *participant);
            let (sees, wrote) = (BTreeMap::new(), BTreeSet::new());
            let mut branch = Branch { tx, participant, node, took_effect, sees, wrote };
            let read = transaction.read_at(participant);
            for (at, op) in ops.iter().enumerate() {
                let version = read.get(at).map(|(_, version)| *version);
                match op {
                    Op::ReadRegister { register } => self.read(&mut branch, *register, version),
                    Op::ReadWrite { register } => {
                        self.read(&mut branch, *register, version);
                        self.write(&mut branch, *register, version);
                    }
                    Op::Transfer { .. } | Op::ReadAccount { .. } => {}
                }
            }
        }
    }

    /// A branch sees its own write, and what it has read, unchanged.
    fn read(&mut self, branch: &mut Branch<'a>, register: u8, version: Option<Version<'a>>) {
        let (Some(node), Some(version)) = (branch.node, version) else { return };
        let item = (branch.participant, register);
        let expected = *branch.sees.entry(register).or_insert(version);
        if expected != version {
            let (tx, expected, version) = (branch.tx, shown(expected), shown(version));
            let what = format!("{tx} saw {expected} at {} and then {version}", Place(item));
            self.fuzzy.push(Anomaly { kind: AnomalyKind::FuzzyRead, tx: Some(tx.to_owned()), what });
        } else if !branch.wrote.contains(&register) {
            self.registers.entry(item).or_default().readers.insert((node, version));
        }
    }

    fn write(&mut self, branch: &mut Branch<'a>, register: u8, replaced: Option<Version<'a>>) {
        let item = (branch.participant, register);
        if branch.wrote.insert(register) && branch.took_effect {
            self.registers.entry(item).or_default().writers.insert(branch.tx, replaced);
        }
        branch.sees.insert(register, Some(branch.tx));
    }

    fn end(&mut self, run: &'a Run) {
        let end = self.nodes.len();
        for (participant, found) in run.finals.participants.iter().filter(|(at, _)| !self.losers.contains(at)) {
            for (register, writer) in &found.registers {
                self.registers.entry((*participant, *register)).or_default().last = Some(Some(writer));
            }
        }
        for ((participant, _), register) in &mut self.registers {
            if run.finals.participants.contains_key(participant) {
                let last = *register.last.get_or_insert(None);
                register.readers.insert((end, last));
            }
        }
    }

    /// Reads of what nobody wrote there, and reads that changed.
    pub(super) fn strange_reads(&self) -> Vec<Anomaly> {
        let mut strange = self.fuzzy.clone();
        for (item, register) in &self.registers {
            for (reader, writer) in register.readers.iter().filter_map(|(reader, read)| Some((*reader, (*read)?))) {
                let (place, name) = (Place(*item), self.name(reader));
                let what = if writer == name {
                    format!("{name} read its own write at {place} before it wrote")
                } else if register.writers.contains_key(writer) || self.left_out.contains(writer) {
                    continue;
                } else if reader == self.nodes.len() {
                    format!("{place} holds {writer}, which did not take effect there")
                } else {
                    format!("{name} read {writer} at {place}, which did not take effect there")
                };
                let tx = self.nodes.get(reader).map(|node| node.tx.to_owned());
                strange.push(Anomaly { kind: AnomalyKind::DirtyRead, tx, what });
            }
        }
        strange
    }

    /// Returns who comes before whom, by what they read and wrote.
    pub(super) fn dependencies(&self) -> Vec<Edge> {
        let by_name: BTreeMap<&str, usize> = self.nodes.iter().enumerate().map(|(at, node)| (node.tx, at)).collect();
        let end = self.nodes.len();
        let mut edges = Vec::new();
        let mut last = BTreeSet::new();
        for (item, register) in &self.registers {
            let mut add = |from: usize, to: usize, kind| {
                if from != to {
                    edges.push(Edge { from, to, kind, item: Some(*item) });
                }
            };
            let known = |version: &Version| version.is_none_or(|writer| register.writers.contains_key(writer));
            let replaced = |(writer, replaced): (&&'a str, &Option<Version<'a>>)| {
                (*writer, replaced.filter(|version| known(version) && *version != Some(*writer)))
            };
            let writers: Writers = register.writers.iter().map(replaced).collect();
            let next = following(&writers, register.last);
            let next = |version: Version<'a>| next_nodes(&next, &by_name, version);
            for writer in writers.keys().filter_map(|writer| by_name.get(writer)) {
                next(Some(self.nodes[*writer].tx)).iter().for_each(|to| add(*writer, *to, Kind::WriteWrite));
                last.insert(*writer);
            }
            for (reader, version) in register.readers.iter().filter(|(_, version)| known(version)) {
                let writer = version.and_then(|writer| by_name.get(writer));
                writer.into_iter().for_each(|writer| add(*writer, *reader, Kind::WriteRead));
                next(*version).iter().for_each(|to| add(*reader, *to, Kind::ReadWrite));
            }
        }
        edges.extend(last.into_iter().map(|from| Edge { from, to: end, kind: Kind::Last, item: None }));
        edges
    }

    /// Returns who was answered before whom was asked for, leaving out what follows from others.
    pub(super) fn real_time(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (to, later) in self.nodes.iter().enumerate() {
            let before = |node: &Node| node.told_us.is_some_and(|told_us| told_us < later.asked_us);
            let latest = self.nodes.iter().filter(|node| before(node)).map(|node| node.asked_us).max();
            let direct = |node: &Node| before(node) && node.told_us >= latest;
            let earlier = self.nodes.iter().enumerate().filter(|(_, node)| direct(node));
            edges.extend(earlier.map(|(from, _)| Edge { from, to, kind: Kind::RealTime, item: None }));
        }
        edges
    }

    pub(super) fn describe(&self, cycle: &Cycle) -> Anomaly {
        let steps: Vec<String> = cycle.0.iter().map(|edge| self.step(edge)).collect();
        let tx = cycle.0.iter().find_map(|edge| self.nodes.get(edge.from)).map(|node| node.tx.to_owned());
        Anomaly { kind: cycle.kind(), tx, what: format!("no order explains that {}", steps.join(", ")) }
    }

    fn step(&self, edge: &Edge) -> String {
        let (from, to) = (self.name(edge.from), self.name(edge.to));
        let place = edge.item.map(|item| Place(item).to_string()).unwrap_or_default();
        match edge.kind {
            Kind::WriteWrite => format!("{to} replaced what {from} wrote at {place}"),
            Kind::WriteRead => format!("{to} read what {from} wrote at {place}"),
            Kind::ReadWrite => format!("{from} read {place} before {to} wrote there"),
            Kind::Last => format!("{from} took effect before the end"),
            Kind::RealTime => format!("{from} was answered before {to} was asked for"),
        }
    }

    fn name(&self, node: usize) -> &'a str {
        self.nodes.get(node).map_or("the end", |node| node.tx)
    }
}

/// The view that one branch has had of each register.
#[derive(Debug)]
struct Branch<'a> {
    tx: &'a str,
    participant: Participant,
    /// `None`: left out.
    node: Option<usize>,
    took_effect: bool,
    sees: BTreeMap<u8, Version<'a>>,
    wrote: BTreeSet<u8>,
}

/// The writers after a version, passing over those that are left out.
fn next_nodes<'a>(
    next: &BTreeMap<Version<'a>, Vec<&'a str>>,
    by_name: &BTreeMap<&'a str, usize>,
    version: Version<'a>,
) -> BTreeSet<usize> {
    let mut nodes = BTreeSet::new();
    let (mut seen, mut open) = (BTreeSet::new(), vec![version]);
    while let Some(at) = open.pop() {
        for writer in next.get(&at).into_iter().flatten().filter(|writer| seen.insert(**writer)) {
            match by_name.get(writer) {
                Some(node) => nodes.extend([*node]),
                None => open.push(Some(writer)),
            }
        }
    }
    nodes
}

fn shown(version: Version<'_>) -> &str {
    version.unwrap_or("nothing")
}

struct Place(Item);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place((participant, register)) = self;
        write!(f, "register {register} of p{participant}")
    }
}
