//! The question whether this coordinator may speak. Before its first session after a start it asks what others have
//! seen of its log.
//!
//! ```text
//! Asking ──(all have answered, or the time for it is over, and nothing is amiss)──────▶ Clear
//!    └──(a sign)──▶ Held ──(only a local sign, and every participant has cleared it)────▶ Clear
//!                     └────(an operator accepts the loss)──▶ Accepted ──▶ Clear
//! ```
//!
//! Until it is clear, no epoch is claimed and nothing is sent: a log that was put back from an older copy would presume
//! what others know better.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use undoubt_vocabulary::{CoordinatorId, Epoch, Lack, ParticipantName, Start, Starts, TxId, WriteNumber};

/// A participant's answer to `Recall`: what it knows of this coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecallAnswer {
    /// The highest number that it has seen of this log, or of the one that had the name of a log which is new there.
    pub seen: Option<WriteNumber>,
    /// The highest epoch.
    pub epoch: Epoch,
    /// A process has a session as this coordinator.
    pub connected: bool,
    /// Another coordinator was known there last under this one's name.
    pub other: Option<CoordinatorId>,
    /// True if it was put back itself since this log has heard of it, and may have forgotten what it had seen.
    pub was_put_back: bool,
}

/// The reason why the log is believed to be an older copy, or not to be this coordinator's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sign {
    /// The folder, or an earlier start, says so. Participants can clear it.
    Local(String),
    /// An earlier start was shown what its log lacks.
    Noted(String),
    Lacks {
        by: ParticipantName,
        seen: String,
        lack: String,
    },
    /// A participant knows this epoch, or a higher one, though it has seen no write of that start.
    HigherEpoch {
        by: ParticipantName,
        known: Epoch,
    },
    /// A participant keeps something of a transaction that the log has no record of.
    Keeps {
        by: ParticipantName,
        tx: TxId,
    },
    /// The folder is new, and its owner's name is not.
    KnownName {
        by: ParticipantName,
        other: CoordinatorId,
    },
}

/// The state of the question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Some have not answered, and there is time.
    Asking,
    Held,
    /// The coordinator may serve.
    Clear,
}

/// The state machine of the module's page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    starts: Starts,
    /// An operator says that this coordinator is a new one under a known name.
    is_new: bool,
    /// True if every start waits for all.
    waits_for_all: bool,
    /// The participants that the configuration or the log names, with what each has answered.
    participants: BTreeMap<ParticipantName, Option<RecallAnswer>>,
    /// The participants that an operator does not wait for.
    without: BTreeSet<ParticipantName>,
    signs: BTreeSet<Sign>,
    time_is_over: bool,
    accepted: bool,
}

impl Standing {
    pub fn new(starts: Starts, participants: impl IntoIterator<Item = ParticipantName>) -> Standing {
        Standing {
            starts,
            is_new: false,
            waits_for_all: false,
            participants: participants.into_iter().map(|name| (name, None)).collect(),
            without: BTreeSet::new(),
            signs: BTreeSet::new(),
            time_is_over: false,
            accepted: false,
        }
    }

    /// Takes an operator's word that the coordinator is a new one, though its name is known.
    pub fn is_new(self, is_new: bool) -> Standing {
        Standing { is_new, ..self }
    }

    pub fn waits_for_all(self, waits_for_all: bool) -> Standing {
        Standing { waits_for_all, ..self }
    }

    /// Adds a sign that was there before anybody was asked.
    pub fn sign(&mut self, sign: Sign) {
        self.signs.insert(sign);
    }

    /// Takes what a participant says. A later answer takes the place of an earlier one, save for what it was a sign of.
    pub fn handle_answer(&mut self, by: ParticipantName, answer: RecallAnswer) {
        let lacks = answer.seen.and_then(|seen| late_sign(&by, &self.starts, self.is_new, &seen));
        let is_accepted = lacks.is_none() && answer.seen.is_some_and(|seen| seen.log != self.starts.log);
        let is_above = answer.epoch.0 >= self.starts.now.count;
        let higher = is_above.then(|| Sign::HigherEpoch { by: by.clone(), known: answer.epoch });
        let sign = match answer.other.filter(|_| !self.is_new && !is_accepted) {
            Some(other) => Some(Sign::KnownName { by: by.clone(), other }),
            None => lacks.or(higher),
        };
        self.signs.extend(sign);
        self.participants.insert(by, Some(answer));
    }

    /// Returns what this log lacks by what a participant says. Later starts have to know it, for this participant may be away
    /// then.
    pub fn lacking(&self, answer: &RecallAnswer) -> Option<WriteNumber> {
        let seen = answer.seen.filter(|seen| lack(&self.starts, self.is_new, seen).is_some());
        let is_ahead = answer.epoch.0 >= self.starts.now.count;
        let own = WriteNumber { log: self.starts.log, start: self.starts.now, writes: 0 };
        seen.or(is_ahead.then(|| foreign_start(&own, answer.epoch)))
    }

    /// Takes back that a participant has answered: it does not answer any more.
    pub fn handle_silence(&mut self, name: &ParticipantName) {
        self.participants.insert(name.clone(), None);
    }

    /// Notes that the bound for those that have not answered has passed.
    pub fn time_is_over(&mut self) {
        self.time_is_over = true;
    }

    /// Accepts, on an operator's word, what the log has lost, without waiting for the named participants. Returns those
    /// that have not answered and were not named; nothing is accepted while there are some.
    pub fn accept(&mut self, without: impl IntoIterator<Item = ParticipantName>) -> Result<(), Vec<ParticipantName>> {
        self.without.extend(without);
        let missing: Vec<ParticipantName> =
            self.missing().filter(|name| !self.without.contains(*name)).cloned().collect();
        if missing.is_empty() {
            self.accepted = true;
            Ok(())
        } else {
            Err(missing)
        }
    }

    /// Returns participants that have not answered.
    pub fn missing(&self) -> impl Iterator<Item = &ParticipantName> {
        self.participants.iter().filter(|(_, answer)| answer.is_none()).map(|(name, _)| name)
    }

    pub fn verdict(&self) -> Verdict {
        if self.accepted {
            return Verdict::Clear;
        }
        let all = self.missing().next().is_none();
        if self.signs.is_empty() {
            return if all || self.time_is_over && !self.waits_for_all { Verdict::Clear } else { Verdict::Asking };
        }
        let can_be_cleared = self.signs.iter().all(|sign| matches!(sign, Sign::Local(_)));
        let all_know = all && self.forgetful().next().is_none();
        if can_be_cleared && all_know && self.rivals().next().is_none() { Verdict::Clear } else { Verdict::Held }
    }

    /// Returns true if participants alone have cleared a sign that was there.
    pub fn is_cleared(&self) -> bool {
        self.verdict() == Verdict::Clear && !self.accepted && !self.signs.is_empty()
    }

    pub fn signs(&self) -> impl Iterator<Item = &Sign> {
        self.signs.iter()
    }

    /// Returns participants to which a process is connected as this coordinator.
    pub fn rivals(&self) -> impl Iterator<Item = &ParticipantName> {
        let connected = |answer: &Option<RecallAnswer>| answer.as_ref().is_some_and(|answer| answer.connected);
        self.participants.iter().filter(move |(_, answer)| connected(answer)).map(|(name, _)| name)
    }

    /// Returns participants that may have forgotten what they had seen.
    pub fn forgetful(&self) -> impl Iterator<Item = &ParticipantName> {
        let forgetful = |answer: &Option<RecallAnswer>| answer.as_ref().is_some_and(|answer| answer.was_put_back);
        self.participants.iter().filter(move |(_, answer)| forgetful(answer)).map(|(name, _)| name)
    }

    /// Returns the highest counts of losses and of starts (epochs) that anybody has told of.
    pub fn highest(&self) -> Start {
        let answer = self.participants.values().flatten();
        answer.fold(Start::default(), |highest, answer| {
            let seen = answer.seen.map_or(Start::default(), |seen| seen.start);
            let count = highest.count.max(seen.count).max(answer.epoch.0);
            Start { losses: highest.losses.max(seen.losses), count, mark: 0 }
        })
    }

    /// Returns, in sentences for people, why it is held, and what it waits for.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self.signs.iter().map(ToString::to_string).collect();
        let named = |names: &mut dyn Iterator<Item = &ParticipantName>| {
            names.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let rivals = named(&mut self.rivals());
        if !rivals.is_empty() {
            reasons.push(format!("another process is connected as this coordinator to {rivals}: stop one of the two"));
        }
        let forgetful = named(&mut self.forgetful());
        if !forgetful.is_empty() {
            reasons.push(format!("{forgetful} had lost data too, and may have forgotten what was seen of this log"));
        }
        let missing = named(&mut self.missing());
        if !missing.is_empty() {
            reasons.push(format!("no answer yet of {missing}"));
        }
        reasons
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Local(why) | Sign::Noted(why) => f.write_str(why),
            Sign::Lacks { by, seen, lack } => write!(f, "participant {by} has seen its {seen}, and {lack}"),
            Sign::HigherEpoch { by, known } => {
                write!(
                    f,
                    "participant {by} has met epoch {} of this coordinator, which this log has not taken yet",
                    known.0
                )
            }
            Sign::Keeps { by, tx } => {
                write!(f, "participant {by} keeps its part of transaction {tx}, of which this log has no record")
            }
            Sign::KnownName { by, other } => write!(
                f,
                "participant {by} knows this coordinator's name with another log ({other}): its folder is missing or was emptied, or \
                 two coordinators have one name. If this one is new on purpose, start it with --new"
            ),
        }
    }
}

/// Returns the number of a start of which only the count is known, and that it was not `own`'s: its mark is none that is drawn
/// for a start here.
pub fn foreign_start(own: &WriteNumber, known: Epoch) -> WriteNumber {
    WriteNumber { log: own.log, start: Start { count: known.0, mark: u64::MAX, ..own.start }, writes: 0 }
}

/// Returns what a log lacks of what was seen of it. `is_new`: what another log of the same name wrote does not count.
pub fn lack(starts: &Starts, is_new: bool, seen: &WriteNumber) -> Option<Lack> {
    starts.lack(seen).filter(|lack| !is_new || *lack != Lack::OtherLog)
}

/// Returns what a late sign says: a session began with a number that this log [lacks](lack).
pub fn late_sign(by: &ParticipantName, starts: &Starts, is_new: bool, seen: &WriteNumber) -> Option<Sign> {
    let lack = lack(starts, is_new, seen)?;
    Some(Sign::Lacks { by: by.clone(), seen: seen.to_string(), lack: lack.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [u8; 16] = [7; 16];

    fn name(name: &str) -> ParticipantName {
        name.parse().unwrap()
    }

    fn start(count: u32) -> Start {
        Start { losses: 0, count, mark: u64::from(count) }
    }

    fn seen(count: u32, writes: u64) -> RecallAnswer {
        let seen = Some(WriteNumber { log: LOG, start: start(count), writes });
        RecallAnswer { seen, epoch: Epoch(count), ..RecallAnswer::default() }
    }

    /// Returns start 3, after a start 2 of 10 writes, with participants a and b.
    fn standing() -> Standing {
        let mut starts = Starts::new(LOG, start(3));
        starts.add_past(start(2), 10);
        Standing::new(starts, [name("a"), name("b")])
    }

    #[test]
    fn an_ordinary_start_waits_for_those_who_answer_in_time_and_for_no_other() {
        let mut ordinary = standing();
        ordinary.handle_answer(name("a"), seen(2, 10));
        assert_eq!(ordinary.verdict(), Verdict::Asking);
        let mut all = ordinary.clone();
        all.handle_answer(name("b"), RecallAnswer::default());
        assert_eq!(all.verdict(), Verdict::Clear);
        ordinary.time_is_over();
        assert_eq!(ordinary.verdict(), Verdict::Clear);
        let mut patient = ordinary.waits_for_all(true);
        assert_eq!(patient.verdict(), Verdict::Asking);
        patient.handle_answer(name("b"), seen(1, 99));
        assert_eq!(patient.verdict(), Verdict::Clear);
    }

    #[test]
    fn what_the_log_lacks_holds_it_until_an_operator_accepts_that() {
        let mut held = standing();
        held.handle_answer(name("a"), seen(2, 11));
        held.time_is_over();
        assert_eq!(held.verdict(), Verdict::Held);
        assert_eq!(held.accept([]), Err(vec![name("b")]));
        assert_eq!(held.verdict(), Verdict::Held);
        assert_eq!(held.accept([name("b")]), Ok(()));
        assert_eq!(held.verdict(), Verdict::Clear);
        assert!(!held.is_cleared());
    }

    #[test]
    fn a_local_sign_is_cleared_by_all_participants_together_unless_the_original_lives() {
        let mut copied = standing();
        copied.sign(Sign::Local("the folder was copied".into()));
        copied.time_is_over();
        copied.handle_answer(name("a"), seen(2, 10));
        assert_eq!(copied.verdict(), Verdict::Held);
        copied.handle_answer(name("b"), RecallAnswer { connected: true, ..seen(2, 9) });
        assert_eq!(copied.verdict(), Verdict::Held);
        assert!(copied.reasons().iter().any(|why| why.contains("another process is connected")));
        copied.handle_answer(name("b"), RecallAnswer { was_put_back: true, ..seen(2, 9) });
        assert_eq!(copied.verdict(), Verdict::Held);
        assert!(copied.reasons().iter().any(|why| why.contains("may have forgotten")));
        copied.handle_answer(name("b"), seen(2, 9));
        assert_eq!(copied.verdict(), Verdict::Clear);
        assert!(copied.is_cleared());
        let mut silent = copied.clone();
        silent.handle_silence(&name("b"));
        assert_eq!(silent.verdict(), Verdict::Held);
        copied.sign(Sign::Keeps { by: name("a"), tx: "t1".parse().unwrap() });
        assert_eq!(copied.verdict(), Verdict::Held);
    }

    #[test]
    fn another_log_of_the_name_is_no_sign_once_it_was_accepted_or_if_the_log_is_new_on_purpose() {
        let of_another = |losses| {
            let number = WriteNumber { log: [9; 16], start: Start { losses, count: 5, mark: 55 }, writes: 3 };
            RecallAnswer { seen: Some(number), other: Some(CoordinatorId([9; 16])), ..RecallAnswer::default() }
        };
        let mut emptied = standing();
        emptied.handle_answer(name("a"), of_another(1));
        assert!(matches!(emptied.signs().next(), Some(Sign::KnownName { .. })));
        // What is accepted counts above that log's own losses.
        assert_eq!(emptied.highest().losses, 1);
        let mut accepted = standing();
        accepted.starts.now.losses = 2;
        accepted.handle_answer(name("a"), of_another(1));
        assert_eq!(accepted.signs().next(), None);
        let mut new = standing().is_new(true);
        new.handle_answer(name("a"), RecallAnswer { other: None, ..of_another(1) });
        assert_eq!(new.signs().next(), None);
        // Its former log, as complete as it was, in the place of the one that followed it.
        let mut former = standing();
        former.handle_answer(name("a"), RecallAnswer { other: Some(CoordinatorId([9; 16])), ..seen(2, 10) });
        assert!(matches!(former.signs().next(), Some(Sign::KnownName { .. })));
    }

    #[test]
    fn what_the_log_lacks_is_named_for_later_starts_and_nothing_else_is() {
        assert_eq!(standing().lacking(&seen(2, 10)), None);
        assert_eq!(standing().lacking(&seen(2, 11)), seen(2, 11).seen);
        let known = standing().lacking(&RecallAnswer { epoch: Epoch(4), ..RecallAnswer::default() }).unwrap();
        let mut later = Starts::new(LOG, start(5));
        later.add_past(start(4), 7);
        assert_eq!(later.lack(&known), Some(Lack::OtherStart));
    }

    #[test]
    fn a_higher_epoch_and_a_known_name_are_signs_too() {
        let mut old = standing();
        old.handle_answer(name("a"), RecallAnswer { epoch: Epoch(3), ..RecallAnswer::default() });
        assert_eq!(old.verdict(), Verdict::Held);
        assert_eq!(old.highest().count, 3);
        let other = RecallAnswer { other: Some(CoordinatorId([9; 16])), ..RecallAnswer::default() };
        let mut emptied = standing();
        emptied.handle_answer(name("a"), other.clone());
        assert_eq!(emptied.verdict(), Verdict::Held);
        let mut new = standing().is_new(true);
        new.handle_answer(name("a"), other);
        new.handle_answer(name("b"), RecallAnswer::default());
        assert_eq!(new.verdict(), Verdict::Clear);
    }
}
