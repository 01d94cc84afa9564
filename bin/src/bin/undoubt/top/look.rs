//! Looks at a coordinator and all of its participants at once, and makes a frame of what they say.

use super::frame::{Coordinator, Frame, InDoubt, Participant, Rates, Transaction};
use crate::address_book::{AddressBook, Entry, remember};
use crate::args::Global;
use crate::exit::Failure;
use crate::output::or_dash;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_client::{
    Client, CoordinatorView, Figures, Filter, Held, HeldBranch, HeldFilter, HeldQuery, ListQuery, Listing,
    OperatorError, ParticipantClient, ParticipantState, ParticipantView, TransactionView,
};
use undoubt_platform::{Clock, SystemClock};
use undoubt_vocabulary::Timestamp;

/// Transactions that one look asks for, and branches in doubt of one participant.
const MAX_TRANSACTIONS: u32 = 100;

/// The eyes of a view: connections that stay, and what the last look saw.
pub struct Looks<'g> {
    global: &'g Global,
    coordinator: Client,
    participants: BTreeMap<String, ParticipantClient>,
    before: Option<Counts>,
}

/// The counts of a coordinator, and when they were taken.
#[derive(Clone, Copy, Debug)]
struct Counts {
    at: Timestamp,
    epoch: u32,
    figures: Figures,
}

/// The answers of one participant; none where it did not answer.
struct Answer {
    entry: Entry,
    state: Result<ParticipantState, String>,
    held: Option<Held>,
}

impl<'g> Looks<'g> {
    /// Returns the eyes for this coordinator; a look takes `patience` at most.
    pub fn new(global: &'g Global, patience: Duration) -> Result<Looks<'g>, Failure> {
        let coordinator = Client::connect_lazy(&global.coordinator, global.identified()?.deadline(patience))?;
        Ok(Looks { global, coordinator, participants: BTreeMap::new(), before: None })
    }

    /// Takes a look.
    pub async fn look(&mut self, patience: Duration) -> Result<Frame, Failure> {
        let query = ListQuery::of(Filter::Open).limit(MAX_TRANSACTIONS);
        let (described, listed) = tokio::join!(self.coordinator.describe(), self.coordinator.list(&query));
        let (view, away) = match described {
            Ok(view) => (Some(view), None),
            Err(OperatorError::NotReached(away)) => (None, Some(away.to_string())),
            Err(error) => return Err(error.into()),
        };
        let entries = match &view {
            Some(view) => {
                remember(&self.global.coordinator, view);
                AddressBook::told_by(view)
            }
            None => AddressBook::remembered(&self.global.coordinator),
        };
        let answers = self.ask(entries, patience).await?;
        let now = SystemClock.now();
        let coordinator = view.as_ref().map(|view| self.coordinator(view, now));
        if view.is_none() {
            self.before = None;
        }
        let in_doubt = in_doubt(&answers, now);
        let participants = match &view {
            Some(view) => view.participants.iter().map(|one| of_view(one, &answers, now)).collect(),
            None => answers.iter().map(|answer| of_answer(answer, now)).collect(),
        };
        let (oldest, more) = match (&view, listed) {
            (Some(_), Ok(listing)) => open_transactions(&listing, now),
            (Some(_), Err(_)) => (Vec::new(), false),
            (None, _) => branches_in_doubt(&answers, now),
        };
        Ok(Frame {
            at: now.to_string(),
            address: self.global.coordinator.clone(),
            coordinator,
            coordinator_is_away: away,
            in_doubt,
            participants,
            oldest,
            more,
        })
    }

    async fn ask(&mut self, entries: Vec<Entry>, patience: Duration) -> Result<Vec<Answer>, Failure> {
        let mut asked = Vec::new();
        for entry in entries {
            let client = match self.participants.get(&entry.address) {
                Some(known) => known.clone(),
                None => {
                    let options = self.global.identified()?.deadline(patience);
                    let client = ParticipantClient::connect_lazy(&entry.address, options)?;
                    self.participants.insert(entry.address.clone(), client.clone());
                    client
                }
            };
            asked.push(async move {
                let query = HeldQuery::of(HeldFilter::InDoubt).limit(MAX_TRANSACTIONS);
                let (state, held) = tokio::join!(client.describe(), client.held(&query));
                Answer { entry, state: state.map_err(|error| error.to_string()), held: held.ok() }
            });
        }
        Ok(join_all(asked).await)
    }

    fn coordinator(&mut self, view: &CoordinatorView, now: Timestamp) -> Coordinator {
        let figures = view.figures.unwrap_or_default();
        let counts = Counts { at: now, epoch: view.epoch.0, figures };
        let before = self.before.replace(counts);
        let age = |begun_at: Option<Timestamp>| begun_at.map(|begun_at| now.since(begun_at).as_secs_f64());
        Coordinator {
            name: view.name.clone(),
            epoch: view.epoch.0,
            phase: or_dash(view.phase),
            per_second: view.figures.and(before).and_then(|before| rates(&before, &counts)),
            open: view.open,
            max_open: view.max_open,
            oldest_open_s: age(figures.oldest_open),
            unacknowledged: view.unacknowledged,
            oldest_unacknowledged_s: age(figures.oldest_unacknowledged),
            stuck: figures.stuck,
            oldest_stuck_s: age(figures.oldest_stuck),
            damaged: view.damaged,
            unusable: figures.unusable,
            paused: figures.paused,
            free_bytes: figures.free_bytes,
            min_free_bytes: figures.min_free_bytes,
            refusing_work_because: view.refusing_work_because.clone(),
            held_because: view.held_because.clone(),
        }
    }
}

/// Returns how fast it went between two looks at one start.
fn rates(before: &Counts, after: &Counts) -> Option<Rates> {
    let seconds = after.at.since(before.at).as_secs_f64();
    if before.epoch != after.epoch || seconds <= 0.0 {
        return None;
    }
    let per_second = |count: fn(&Figures) -> u64| {
        let more = count(&after.figures).checked_sub(count(&before.figures))?;
        Some(more as f64 / seconds)
    };
    Some(Rates {
        begun: per_second(|figures| figures.begun)?,
        committed: per_second(|figures| figures.committed)?,
        aborted: per_second(|figures| figures.aborted)?,
    })
}

fn age_of(branch: &HeldBranch, now: Timestamp) -> f64 {
    branch.age(now).as_secs_f64()
}

fn oldest_of(answer: &Answer, now: Timestamp) -> Option<f64> {
    answer.held.iter().flat_map(|held| &held.branches).map(|branch| age_of(branch, now)).reduce(f64::max)
}

fn in_doubt(answers: &[Answer], now: Timestamp) -> InDoubt {
    let states = || answers.iter().filter_map(|answer| answer.state.as_ref().ok());
    InDoubt {
        branches: states().map(|state| state.branches_in_doubt).sum(),
        participants: states().filter(|state| state.branches_in_doubt > 0).count() as u64,
        oldest_s: answers.iter().filter_map(|answer| oldest_of(answer, now)).reduce(f64::max),
        unknown: answers.iter().filter(|answer| answer.state.is_err()).count() as u64,
    }
}

/// Returns what an operator should know of a participant that has answered.
fn note_of(state: &ParticipantState) -> Option<String> {
    let put_back = state.put_back.as_ref().map(|why| format!("put back: {why}"));
    put_back.or_else(|| state.refusing_work_because.clone()).or_else(|| state.warnings.first().cloned())
}

fn of_view(view: &ParticipantView, answers: &[Answer], now: Timestamp) -> Participant {
    let answer = answers.iter().find(|answer| answer.entry.name == view.name.as_str());
    let state = answer.and_then(|answer| answer.state.as_ref().ok());
    let silent = answer.and_then(|answer| answer.state.as_ref().err());
    Participant {
        name: view.name.to_string(),
        state: if view.connected { "connected" } else { "away" }.to_owned(),
        for_s: (!view.address.is_empty()).then(|| now.since(view.since).as_secs_f64()),
        open: Some(view.open),
        queued: Some(view.queued),
        in_doubt: state.map(|state| state.branches_in_doubt),
        oldest_in_doubt_s: answer.and_then(|answer| oldest_of(answer, now)),
        spared: view.spared,
        note: view.last_error.clone().or_else(|| state.and_then(note_of)).or_else(|| silent.cloned()),
    }
}

fn of_answer(answer: &Answer, now: Timestamp) -> Participant {
    let said = answer.state.as_ref();
    Participant {
        name: answer.entry.name.clone(),
        state: if said.is_ok() { "answers" } else { "silent" }.to_owned(),
        in_doubt: said.ok().map(|state| state.branches_in_doubt),
        oldest_in_doubt_s: oldest_of(answer, now),
        note: said.map_or_else(|why| Some(why.clone()), note_of),
        ..Participant::default()
    }
}

fn open_transactions(listing: &Listing, now: Timestamp) -> (Vec<Transaction>, bool) {
    let row = |view: &TransactionView| {
        let not_over = view.branches.iter().filter(|branch| branch.outcome.is_none());
        let waits_at: Vec<String> =
            not_over.map(|branch| format!("{} {}", branch.name(), or_dash(branch.state))).collect();
        Transaction {
            tx: view.tx.to_string(),
            age_s: now.since(view.begun_at).as_secs_f64(),
            phase: or_dash(view.phase),
            waits_at: waits_at.join(", "),
        }
    };
    (listing.transactions.iter().map(row).collect(), listing.cursor.is_some())
}

/// Returns what is in doubt at all participants, the oldest first.
fn branches_in_doubt(answers: &[Answer], now: Timestamp) -> (Vec<Transaction>, bool) {
    let of = |answer: &Answer| {
        let branches = answer.held.iter().flat_map(|held| &held.branches);
        let row = |branch: &HeldBranch| Transaction {
            tx: branch.tx.to_string(),
            age_s: age_of(branch, now),
            phase: branch.state.clone(),
            waits_at: answer.entry.name.clone(),
        };
        branches.map(row).collect::<Vec<_>>()
    };
    let mut all: Vec<Transaction> = answers.iter().flat_map(of).collect();
    all.sort_by(|one, other| other.age_s.total_cmp(&one.age_s));
    let more = answers.iter().filter_map(|answer| answer.held.as_ref()).any(|held| held.cursor.is_some());
    (all, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(at_s: u64, epoch: u32, begun: u64) -> Counts {
        let mut figures = Figures::default();
        figures.begun = begun;
        Counts { at: Timestamp(at_s * 1_000_000), epoch, figures }
    }

    #[test]
    fn rates_are_of_two_looks_at_one_start() {
        let told = rates(&counts(10, 1, 100), &counts(12, 1, 300)).unwrap();
        assert_eq!(told, Rates { begun: 100.0, committed: 0.0, aborted: 0.0 });
        assert_eq!(rates(&counts(10, 1, 100), &counts(12, 2, 300)), None);
        assert_eq!(rates(&counts(10, 1, 100), &counts(10, 1, 300)), None);
        assert_eq!(rates(&counts(10, 1, 300), &counts(12, 1, 100)), None);
    }
}
