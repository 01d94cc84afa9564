//! The question whether this participant's log is the newest, as far as anybody has shown.

use crate::pin::Proof;
use undoubt_vocabulary::{CoordinatorId, Epoch, LowWaterMark, Start, Starts, Timestamp, WriteNumber};

/// The knowledge of a participant about its own log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Standing {
    /// `None`: its writes are not numbered, and nothing can be told.
    pub(crate) starts: Option<Starts>,
    /// The reason why it is believed to be an older copy.
    pub(crate) put_back: Option<String>,
    /// The highest counts of losses and starts that were shown to it.
    pub(crate) latest: Start,
}

/// An operator accepts that a participant has lost what others have seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loss {
    pub at: Timestamp,
    pub who: String,
    pub reason: String,
    /// The reason why it was believed to be an older copy.
    pub put_back: String,
    /// The counts of losses and starts above which the next start has to be.
    pub above: Start,
}

/// The question of a coordinator before its first session after a start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recall {
    pub coordinator: CoordinatorId,
    /// The keys that it has proven to have.
    pub proof: Proof,
    /// The name, for people, and to notice that a coordinator's folder is a new one.
    pub name: String,
    /// The highest number that it has seen of this participant's log.
    pub shown: Option<WriteNumber>,
}

/// The answer to [`Recall`]: what is known of a coordinator here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recalled {
    pub seen: Seen,
    pub epoch: Epoch,
    pub low_water_mark: LowWaterMark,
    pub connected: bool,
    pub put_back: Option<String>,
    /// Another coordinator was known last under this name.
    pub other: Option<CoordinatorId>,
}

impl Standing {
    /// Returns why the log is an older copy, if what was shown says so and nothing did before.
    pub(crate) fn shown(&mut self, shown: Option<&WriteNumber>) -> Option<String> {
        let (starts, shown) = (self.starts.as_ref()?, shown?);
        let lack = starts.lack(shown)?;
        self.latest.losses = self.latest.losses.max(shown.start.losses);
        self.latest.count = self.latest.count.max(shown.start.count);
        if self.put_back.is_some() {
            return None;
        }
        let why = format!("others have seen its {shown}, and {lack}");
        self.put_back = Some(why.clone());
        Some(why)
    }

    /// Returns the counts of losses and starts that the next start has to be above.
    pub(crate) fn latest(&self) -> Start {
        self.latest
    }

    pub(crate) fn accepted(&mut self, starts: Starts) {
        *self = Standing { starts: Some(starts), ..Standing::default() };
    }
}

/// The state of a coordinator's log as it has been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The start that said hello last.
    pub met: Option<Start>,
    /// The highest number of a stable write. It stays that of an earlier start until the present one says more: what the present
    /// one lacks of it is shown to it first. Of a log that is new under a known name it is that of the log which had the name.
    pub number: Option<WriteNumber>,
}

impl Seen {
    /// Returns true if another process has said hello, or written, in a start of the same log and count.
    pub(crate) fn is_another(&self, number: &WriteNumber) -> bool {
        let written = self.number.filter(|seen| seen.log == number.log).map(|seen| seen.start);
        self.met.iter().chain(&written).any(|seen| seen.is_rival_of(&number.start))
    }
}
