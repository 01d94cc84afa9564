//! The bank: where accounts live, under which keys, and how a step becomes a transaction.
//!
//! A customer's savings and checking account are at different participants, so that most transactions span some. All keys
//! and ids begin with the name of the run, so that runs do not meet, at the same time or one after the other:
//!
//! | key | value |
//! | --- | --- |
//! | `<run>/savings/<customer>`, `<run>/checking/<customer>` | the balance |
//! | `~/<run>-<number>`: transaction `<run>-<number>` took effect here | `1` |

use crate::workload::Mode;
use crate::workload::account_work::{AccountWork, Language, Languages, numbers};
use crate::workload::step::{Account, Action, Kind, Step};
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use undoubt_client::{self as client, Answer, Saga, Submission, Transaction};
use undoubt_vocabulary::{ParticipantName, TxId};

/// Leaves room for the number in a transaction's id, which may have 64 bytes.
pub const MAX_RUN_NAME_BYTES: usize = 40;

#[derive(Clone, Debug)]
pub struct Bank {
    run: String,
    participants: Vec<ParticipantName>,
    languages: Vec<Language>,
    /// True if transactions leave markers.
    marks: bool,
    timeout: Option<Duration>,
    mode: Mode,
}

impl Bank {
    pub fn new(run: &str, participants: &[String], marks: bool, timeout: Option<Duration>) -> anyhow::Result<Self> {
        let length = run.len();
        anyhow::ensure!(
            (1..=MAX_RUN_NAME_BYTES).contains(&length) && run.bytes().all(|byte| byte.is_ascii_graphic()),
            "{run:?} cannot name a run; give 1 to {MAX_RUN_NAME_BYTES} printable ASCII characters without spaces"
        );
        let names: Result<Vec<ParticipantName>, _> = participants.iter().map(|name| name.parse()).collect();
        let participants = names.context("a participant's name is invalid")?;
        anyhow::ensure!(!participants.is_empty(), "a load needs participants; name at least one");
        let distinct: BTreeSet<_> = participants.iter().collect();
        anyhow::ensure!(distinct.len() == participants.len(), "a participant is named twice; name each once");
        let languages = vec![Language::default(); participants.len()];
        Ok(Bank { run: run.to_owned(), participants, languages, marks, timeout, mode: Mode::default() })
    }

    /// Speaks to each participant in its language.
    pub fn speaking(self, languages: &Languages) -> Self {
        let of = |name: &ParticipantName| languages.get(name.as_str()).copied().unwrap_or_default();
        Bank { languages: self.participants.iter().map(of).collect(), ..self }
    }

    pub fn in_mode(self, mode: Mode) -> Self {
        Bank { mode, ..self }
    }

    pub fn run(&self) -> &str {
        &self.run
    }

    pub fn marks(&self) -> bool {
        self.marks
    }

    pub fn participants(&self) -> &[ParticipantName] {
        &self.participants
    }

    /// Returns work at a participant that does nothing yet.
    pub fn work(&self, home: usize) -> AccountWork {
        self.languages[home].work()
    }

    /// Returns how many accesses a batch at a participant may have.
    pub fn max_batch_accesses(&self, home: usize) -> usize {
        self.languages[home].max_batch_accesses()
    }

    /// Returns where an account is, as a place among the participants.
    pub fn home(&self, account: Account) -> usize {
        let shift = match account.kind {
            Kind::Savings => 0,
            Kind::Checking => 1,
        };
        (account.customer as usize + shift) % self.participants.len()
    }

    /// Returns the places where a step writes.
    pub fn written(&self, step: &Step) -> BTreeSet<usize> {
        step.deltas().map(|(account, _)| self.home(account)).collect()
    }

    pub fn key(&self, account: Account) -> String {
        let kind = match account.kind {
            Kind::Savings => "savings",
            Kind::Checking => "checking",
        };
        format!("{}/{kind}/{}", self.run, account.customer)
    }

    pub fn tx(&self, number: u64) -> TxId {
        TxId::new(format!("{}-{number}", self.run)).expect("a run's name has 1 to 40 bytes, a number at most 20")
    }

    pub fn marker(&self, number: u64) -> String {
        format!("~/{}", self.tx(number))
    }

    /// The transaction of that number: always the same for the same step.
    pub fn submission(&self, number: u64, step: &Step) -> Submission {
        let mode = match self.mode {
            Mode::Mixed => [Mode::TwoPhase, Mode::Saga, Mode::Auto][usize::try_from(number % 3).unwrap_or_default()],
            Mode::TwoPhase | Mode::Saga | Mode::Auto => self.mode,
        };
        let submission = match mode {
            Mode::TwoPhase | Mode::Mixed => self.transaction(number, step).into(),
            Mode::Saga => self.saga(number, step).into(),
            Mode::Auto => self.saga(number, step).auto().into(),
        };
        match self.timeout {
            Some(timeout) => Submission::timeout(submission, timeout),
            None => submission,
        }
    }

    fn transaction(&self, number: u64, step: &Step) -> Transaction {
        let works = self.works(number, step).into_iter();
        works.fold(Transaction::with_id(self.tx(number)), |transaction, (home, work)| {
            transaction.on(self.participants[home].as_str(), work)
        })
    }

    fn saga(&self, number: u64, step: &Step) -> Saga {
        self.steps(number, step).into_iter().fold(Saga::with_id(self.tx(number)), Saga::step)
    }

    /// The work at each participant, with its marker.
    fn works(&self, number: u64, step: &Step) -> BTreeMap<usize, AccountWork> {
        let mut works: BTreeMap<usize, AccountWork> = BTreeMap::new();
        for access in step.accesses() {
            let (key, home) = (self.key(access.account), self.home(access.account));
            let work = works.remove(&home).unwrap_or_else(|| self.work(home));
            let work = match access.action {
                Action::Read => work.read(key),
                Action::Add(amount) => work.add(key, amount),
                Action::Withdraw(amount) => work.withdraw(key, amount),
                Action::Replace { read, new } => work.replace(key, read, new),
            };
            works.insert(home, work);
        }
        let marked = if self.marks { self.written(step) } else { BTreeSet::new() };
        for home in marked {
            let work = works.remove(&home).unwrap_or_else(|| self.work(home));
            works.insert(home, work.mark(self.marker(number)));
        }
        works
    }

    /// The same as a saga, with a step for each participant: first those that take something, which can be given back;
    /// then those that only give, which could not be taken back once it is spent. The first of these is the pivot.
    fn steps(&self, number: u64, step: &Step) -> Vec<client::Step> {
        let at = |home: usize| step.accesses().iter().filter(move |access| self.home(access.account) == home);
        let only_gives = |home| {
            at(home).all(|access| match access.action {
                Action::Add(amount) => amount > 0,
                Action::Read | Action::Withdraw(_) | Action::Replace { .. } => false,
            })
        };
        let (gives, takes): (Vec<_>, Vec<_>) =
            self.works(number, step).into_iter().partition(|(home, _)| only_gives(*home));
        let new = |home: usize, work: AccountWork| {
            let name = self.participants[home].as_str();
            client::Step::new(name, name, work)
        };
        let takes = takes.into_iter().map(|(home, work)| {
            let back = at(home).fold(self.work(home), |back, access| match access.delta() {
                Some(delta) => back.add(self.key(access.account), -delta),
                None => back.read(self.key(access.account)),
            });
            let marked = self.marks && at(home).any(|access| access.delta().is_some());
            new(home, work).undo(if marked { back.unmark(self.marker(number)) } else { back })
        });
        let gives = gives
            .into_iter()
            .enumerate()
            .map(|(place, (home, work))| if place == 0 { new(home, work).pivot() } else { new(home, work) });
        takes.chain(gives).collect()
    }

    /// The balances after a committed step, in its order; `None` where the answer does not tell every one.
    pub fn balances(&self, step: &Step, answer: &Answer) -> Option<Vec<i64>> {
        let mut results: Vec<_> = self
            .participants
            .iter()
            .map(|name| {
                answer.result(name.as_str()).and_then(|results| numbers(&results)).unwrap_or_default().into_iter()
            })
            .collect();
        step.accesses().iter().map(|access| results[self.home(access.account)].next().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_client::kv::{Add, KvWork};

    fn bank(participants: &[&str]) -> anyhow::Result<Bank> {
        let names: Vec<String> = participants.iter().map(|name| (*name).to_owned()).collect();
        Bank::new("run", &names, true, None)
    }

    #[test]
    fn a_customers_accounts_are_at_different_participants() {
        let bank = bank(&["a", "b", "c"]).unwrap();
        assert!(
            (0..10).all(|customer| bank.home(Account::savings(customer)) != bank.home(Account::checking(customer)))
        );
    }

    #[test]
    fn a_marker_is_written_at_every_branch_that_is_written_and_nowhere_else() {
        let bank = bank(&["a", "b"]).unwrap();
        let step = Step::new([(Account::savings(0), Action::Withdraw(5)), (Account::checking(0), Action::Read)]);
        let transaction = bank.transaction(9, &step);
        let written = KvWork::new().add("run/savings/0", Add::of(-5).floor(0)).put("~/run-9", "1");
        assert_eq!(transaction.work("a"), Some(&written.into()));
        assert_eq!(transaction.work("b"), Some(&KvWork::new().get("run/checking/0").into()));
    }

    #[test]
    fn as_a_saga_it_first_takes_what_can_be_given_back() {
        let bank = bank(&["a", "b"]).unwrap().in_mode(Mode::Saga);
        let step = Step::new([(Account::savings(1), Action::Add(5)), (Account::savings(0), Action::Withdraw(5))]);
        let saga = bank.saga(9, &step);
        assert_eq!(saga.steps().iter().map(client::Step::name).collect::<Vec<_>>(), ["a", "b"]);
        let back = KvWork::new().add("run/savings/0", 5).delete("~/run-9");
        let take = KvWork::new().add("run/savings/0", Add::of(-5).floor(0)).put("~/run-9", "1");
        assert_eq!(saga.steps()[0], client::Step::new("a", "a", take).undo(back));
        let give = KvWork::new().add("run/savings/1", 5).put("~/run-9", "1");
        assert_eq!(saga.steps()[1], client::Step::new("b", "b", give).pivot());
    }

    #[test]
    fn participants_that_cannot_be_told_apart_and_names_that_are_none_are_refused() {
        assert!(bank(&["a", "a"]).is_err());
        assert!(bank(&[]).is_err());
        assert!(bank(&["bank a"]).is_err());
        assert!(Bank::new(&"x".repeat(41), &["a".to_owned()], true, None).is_err());
        assert!(Bank::new("", &["a".to_owned()], true, None).is_err());
    }
}
