//! Participants named otherwise.

use crate::coordinator::Sent;
use crate::scenario::{participant_name, participant_number};
use crate::world::Clients;
use bytes::Bytes;
use undoubt_coordinator_core::Answer;
use undoubt_vocabulary::{AbortReason, Outcome, PartName, ParticipantName};

/// Each participant takes the place of another, or stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renaming(Vec<usize>);

impl Renaming {
    /// Returns all renamings that move participants within their class only, the one that moves nobody first.
    pub(crate) fn all(classes: &[Vec<usize>]) -> Vec<Renaming> {
        let participants = classes.iter().map(Vec::len).sum();
        let mut all = vec![Renaming((0..participants).collect())];
        for class in classes {
            let orders = orders(class);
            let with = |renaming: &Renaming| {
                let mut renamings = Vec::new();
                for order in &orders {
                    let mut renaming = renaming.clone();
                    class.iter().zip(order).for_each(|(from, to)| renaming.0[*from] = *to);
                    renamings.push(renaming);
                }
                renamings
            };
            all = all.iter().flat_map(with).collect();
        }
        all
    }

    pub(crate) fn number(&self, participant: usize) -> usize {
        self.0[participant]
    }

    pub(crate) fn sent(&self, sent: &Sent) -> Sent {
        match sent {
            Sent::Message { to, body } => Sent::Message { to: self.number(*to), body: body.clone() },
            Sent::Answer { request, tx, answer } => {
                Sent::Answer { request: *request, tx: tx.clone(), answer: self.answer(answer) }
            }
            Sent::Ended { tx, answer } => Sent::Ended { tx: tx.clone(), answer: self.answer(answer) },
            Sent::Resolved { word, answer } => Sent::Resolved { word: word.clone(), answer: self.answer(answer) },
        }
    }

    pub(crate) fn clients(&self, clients: &Clients) -> Clients {
        let mut renamed = clients.clone();
        for (outcome, results) in renamed.told.values_mut() {
            *outcome = self.outcome(outcome);
            *results = self.results(results);
        }
        renamed
    }

    fn answer(&self, answer: &Answer) -> Answer {
        match answer {
            Answer::Outcome { outcome, results } => {
                Answer::Outcome { outcome: self.outcome(outcome), results: self.results(results) }
            }
            // Only a saga is stuck, and the participants of sagas are not interchangeable.
            Answer::Stuck(_) | Answer::Closed | Answer::Step(_) | Answer::Pending | Answer::Rejected(_) => {
                answer.clone()
            }
        }
    }

    fn outcome(&self, outcome: &Outcome) -> Outcome {
        let reason = match outcome {
            Outcome::Committed => return Outcome::Committed,
            Outcome::Aborted(reason) => reason.clone(),
        };
        Outcome::Aborted(match reason {
            AbortReason::Refused { by, refusal } => AbortReason::Refused { by: self.name(&by), refusal },
            AbortReason::DeadlinePassed { unanswered } => {
                let mut unanswered: Vec<ParticipantName> = unanswered.iter().map(|name| self.name(name)).collect();
                unanswered.sort();
                AbortReason::DeadlinePassed { unanswered }
            }
            AbortReason::Unanswered { by, attempts } => AbortReason::Unanswered { by: self.name(&by), attempts },
            AbortReason::ReadLocksLost { by } => AbortReason::ReadLocksLost { by: self.name(&by) },
            AbortReason::NotExecuted { by } => AbortReason::NotExecuted { by: self.name(&by) },
            AbortReason::GivenUp { on } => AbortReason::GivenUp { on: self.name(&on) },
            AbortReason::Cancelled => AbortReason::Cancelled,
            AbortReason::Presumed => AbortReason::Presumed,
            AbortReason::TooMuch { at, refusal } => AbortReason::TooMuch { at: self.name(&at), refusal },
            AbortReason::Unusable { cause } => AbortReason::Unusable { cause },
        })
    }

    /// Sorted: which branch a list names first means nothing.
    fn results(&self, results: &[(PartName, Bytes)]) -> Vec<(PartName, Bytes)> {
        let renamed = |part: &PartName| match part {
            PartName::Branch(participant) => PartName::Branch(self.name(participant)),
            PartName::Step(step) => PartName::Step(step.clone()),
        };
        let mut results: Vec<_> = results.iter().map(|(part, result)| (renamed(part), result.clone())).collect();
        results.sort();
        results
    }

    fn name(&self, name: &ParticipantName) -> ParticipantName {
        participant_number(name).map_or_else(|| name.clone(), |number| participant_name(self.number(number)))
    }
}

/// Returns all orders of the members, their own first.
fn orders(members: &[usize]) -> Vec<Vec<usize>> {
    let Some((first, others)) = members.split_first() else { return vec![Vec::new()] };
    let mut orders = Vec::new();
    for place in 0..members.len() {
        for mut order in self::orders(others) {
            order.insert(place, *first);
            orders.push(order);
        }
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_renaming_within_the_classes_is_there_once_and_the_idle_one_first() {
        let all = Renaming::all(&[vec![0, 2, 3], vec![1], vec![4, 5]]);
        let distinct: BTreeSet<Vec<usize>> = all.iter().map(|renaming| renaming.0.clone()).collect();
        assert_eq!((all.len(), distinct.len()), (12, 12));
        assert_eq!(all[0].0, [0, 1, 2, 3, 4, 5]);
        assert!(all.iter().all(|renaming| renaming.number(1) == 1 && renaming.number(4) >= 4));
    }
}
