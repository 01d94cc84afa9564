//! The word of an operator on steps, stuck or not.

use crate::coordinator::Log;
use std::collections::BTreeMap;
use std::fmt;
use undoubt_coordinator_core::{Client, StepResolution};
use undoubt_vocabulary::{Direction, StepIndex, TxId};

/// Operators have higher numbers than clients.
const FIRST: u64 = 1 << 32;

const RESOLUTIONS: [StepResolution; 3] = [StepResolution::Retry, StepResolution::Skip, StepResolution::Done];

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Word {
    pub(crate) tx: TxId,
    pub(crate) step: StepIndex,
    pub(crate) resolution: StepResolution,
}

/// The words of operators, and how each was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Words(BTreeMap<Word, Answered>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answered {
    NotYet,
    /// The direction is that of the saga on record by then.
    On(Direction),
}

impl Word {
    /// Each word is another operator's.
    pub(crate) fn client(&self) -> Client {
        let resolution = RESOLUTIONS.iter().position(|resolution| *resolution == self.resolution);
        let resolution = resolution.expect("it is one of all there are");
        Client(FIRST + u64::from(self.step.0) * RESOLUTIONS.len() as u64 + resolution as u64)
    }

    /// `None`: a client, not an operator.
    pub(crate) fn of(client: Client, tx: &TxId) -> Option<Word> {
        let number = client.0.checked_sub(FIRST)?;
        let count = RESOLUTIONS.len() as u64;
        let step = StepIndex(u16::try_from(number / count).ok()?);
        Some(Word { tx: tx.clone(), step, resolution: RESOLUTIONS[(number % count) as usize] })
    }
}

impl Words {
    pub(crate) fn say(&mut self, word: Word) {
        self.0.entry(word).or_insert(Answered::NotYet);
    }

    pub(crate) fn answer(&mut self, word: &Word, log: &Log) {
        if let Some(answered) = self.0.get_mut(word) {
            *answered = Answered::On(log.direction(&word.tx));
        }
    }

    /// Returns true if it is on an operator's word, not the participant's, that the step is done, undone or done
    /// without.
    pub(crate) fn settle(&self, tx: &TxId, step: StepIndex) -> bool {
        self.says(tx, step, StepResolution::Skip) || self.says(tx, step, StepResolution::Done)
    }

    pub(crate) fn says(&self, tx: &TxId, step: StepIndex, resolution: StepResolution) -> bool {
        self.0.contains_key(&Word { tx: tx.clone(), step, resolution })
    }

    /// A word that was answered, and that the log does not know of. That a step is to be tried again need not be known:
    /// it is anyway. A step that was called done before its saga compensates is to be compensated like any other.
    pub(crate) fn lost<'a>(&'a self, log: &Log) -> Option<&'a Word> {
        let is_still_true = |word: &Word, answered: Answered| match answered {
            Answered::NotYet => false,
            Answered::On(direction) => match word.resolution {
                StepResolution::Retry => false,
                StepResolution::Done => direction == log.direction(&word.tx),
                StepResolution::Skip => true,
            },
        };
        let answered = self.0.iter().filter(|(word, answered)| is_still_true(word, **answered));
        answered.map(|(word, _)| word).find(|word| !log.has_settled(&word.tx, word.step))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} step {} of {}", self.resolution, self.step.0, self.tx)
    }
}
