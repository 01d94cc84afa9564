//! A choreography of a saga that a coordinator would carry out: the same work, moved by events.
//!
//! Each step is a reaction at its participant, which hears that the one before it is done. Steps run one after the other: a reaction hears
//! one event, so it cannot wait for two. What fails is undone by a *chain*, in which each step hears that the one behind it is refused or
//! undone, or by a *broadcast*, in which all hear of each refusal. From the pivot on nothing is refused: a key waits for an operator.
//!
//! What a step left and a later one uses goes along with the events, as text; bytes that are no text, and values that are absent, do not.

mod rewriting;
mod writing;

use rewriting::Rewriting;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use undoubt_vocabulary::{InvalidId, ParticipantName};

/// A step of a saga, as its definition has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SagaStep {
    pub name: String,
    pub participant: String,
    /// The pieces of its work, as text.
    pub action: Vec<String>,
    pub compensation: Option<Vec<String>>,
    /// Steps that are done before; `None`: the one before it in the list.
    pub after: Option<Vec<String>>,
    pub pivot: bool,
    /// The refusals for good after which its key is parked, if it has no other way.
    pub attempts: Option<u32>,
}

/// How a failure is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backward {
    /// Each step undoes itself when the one behind it is refused or undone.
    Chain,
    /// Each step undoes itself when any step behind it is refused.
    Broadcast,
}

/// What the choreography is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The name of its topic at each participant, with which the types of its events begin.
    pub name: String,
    pub backward: Backward,
    /// The time after which it is undone.
    pub expire: Option<Duration>,
}

/// Why there is no choreography of a saga.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPossible {
    #[error("the saga has no steps; give it one")]
    NoSteps,
    #[error("two steps have the name {0}; give one another")]
    Twice(String),
    #[error("step {step} comes after {after}, which is no step before it or leads back to it; correct `after`")]
    Order { step: String, after: String },
    #[error("step {step} does nothing that is written as text; give it operations or calls")]
    NoWork { step: String },
    #[error("step {step} may have to be undone, and nothing says how; give it `undo`")]
    NoUndo { step: String },
    #[error(
        "step {pivot} is the pivot, which nothing undoes, and an expiry may come after it has acted, before anybody knows; leave `expire` \
         out, or let the pivot be undone too"
    )]
    ExpiryWithPivot { pivot: String },
    #[error("there are {count} pivots; a saga has one at most")]
    Pivots { count: usize },
    #[error("step {step}: {why}")]
    Work { step: String, why: String },
    #[error("{0}")]
    Name(#[from] InvalidId),
    #[error("{participant}: {why}")]
    Unreadable { participant: String, why: String },
}

/// A step with its place.
#[derive(Debug)]
struct Placed<'a> {
    step: &'a SagaStep,
    participant: ParticipantName,
    /// The work and what undoes it, in words that take from events what they took from steps.
    action: Vec<String>,
    undo: Vec<String>,
}

/// Returns each participant's declarations, as the text of a file.
pub fn from_saga(steps: &[SagaStep], terms: &Terms) -> Result<BTreeMap<ParticipantName, String>, NotPossible> {
    let order = in_order(steps)?;
    let pivots: Vec<usize> = (0..order.len()).filter(|at| order[*at].pivot).collect();
    let pivot = match (&pivots[..], terms.expire) {
        ([], _) => None,
        ([pivot], None) => Some(*pivot),
        ([pivot], Some(_)) => return Err(NotPossible::ExpiryWithPivot { pivot: order[*pivot].name.clone() }),
        (_, _) => return Err(NotPossible::Pivots { count: pivots.len() }),
    };
    // The last step that may have to be undone.
    let last_undone = match pivot {
        Some(pivot) => pivot.checked_sub(1),
        None if terms.expire.is_some() => Some(order.len() - 1),
        None => order.len().checked_sub(2),
    };
    let mut rewriting = Rewriting::default();
    let mut placed = Vec::new();
    for (at, step) in order.iter().enumerate() {
        let work = |why| NotPossible::Work { step: step.name.clone(), why };
        if step.action.is_empty() {
            return Err(NotPossible::NoWork { step: step.name.clone() });
        }
        let action = rewriting.rewrite_all(&step.name, &step.action).map_err(work)?;
        let undo = match (&step.compensation, last_undone) {
            (Some(texts), Some(last)) if at <= last => rewriting.rewrite_all(&step.name, texts).map_err(work)?,
            (None, Some(last)) if at <= last => return Err(NotPossible::NoUndo { step: step.name.clone() }),
            (Some(_) | None, _) => Vec::new(),
        };
        placed.push(Placed { step, participant: step.participant.parse()?, action, undo });
    }
    writing::write(&placed, &rewriting, terms, pivot, last_undone)
}

/// Returns the steps in an order in which each comes after those that it names.
fn in_order(steps: &[SagaStep]) -> Result<Vec<&SagaStep>, NotPossible> {
    let mut names = BTreeSet::new();
    if let Some(twice) = steps.iter().find(|step| !names.insert(&step.name)) {
        return Err(NotPossible::Twice(twice.name.clone()));
    }
    let before = |at: usize| match &steps[at].after {
        Some(after) => after.clone(),
        None => at.checked_sub(1).map(|before| steps[before].name.clone()).into_iter().collect(),
    };
    let mut waiting: Vec<usize> = (0..steps.len()).collect();
    let (mut order, mut done): (Vec<&SagaStep>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    while let Some(first) = waiting.first() {
        let ready = waiting.iter().position(|at| before(*at).iter().all(|name| done.contains(name)));
        let Some(ready) = ready else {
            let after = before(*first).into_iter().find(|name| !done.contains(name)).unwrap_or_default();
            return Err(NotPossible::Order { step: steps[*first].name.clone(), after });
        };
        let step = &steps[waiting.remove(ready)];
        done.insert(step.name.clone());
        order.push(step);
    }
    if order.is_empty() { Err(NotPossible::NoSteps) } else { Ok(order) }
}

#[cfg(test)]
mod tests;
