//! What a participant holds, as one list: branches, steps, semantic locks.

use crate::error::OperatorError;
use crate::listing::Cursor;
use crate::participant::ParticipantClient;
use crate::view::{HeldBranch, HeldStep, Mark, all};
use bytes::Bytes;
use undoubt_proto::convert::Malformed;
use undoubt_proto::v1;

/// Which of what a participant holds is asked for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HeldQuery {
    /// What is asked for.
    pub filter: HeldFilter,
    /// At most this many in all; 0: 1,000.
    pub limit: u32,
    /// Where the list before this one ended; its query has to have been the same.
    pub after: Option<Cursor>,
}

impl HeldQuery {
    /// Returns the question for what this filter lets through, with the default limit.
    pub fn of(filter: HeldFilter) -> HeldQuery {
        HeldQuery { filter, ..HeldQuery::default() }
    }

    /// Sets how many are listed at most; 0: 1,000.
    #[must_use]
    pub fn limit(self, limit: u32) -> HeldQuery {
        HeldQuery { limit, ..self }
    }

    /// Goes on where an earlier list, with the same filter, ended.
    #[must_use]
    pub fn after(self, after: Cursor) -> HeldQuery {
        HeldQuery { after: Some(after), ..self }
    }
}

/// What is listed of all that a participant holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldFilter {
    /// Branches, steps and semantic locks.
    #[default]
    All,
    /// Branches and steps, without semantic locks.
    Work,
    /// Only branches that have voted and do not know the decision.
    InDoubt,
    /// Only semantic locks.
    Marks,
}

/// What a participant holds: branches that are not finished and heuristic outcomes not yet forgotten, then steps of sagas that
/// are being worked on, then semantic locks.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Held {
    /// The oldest first.
    pub branches: Vec<HeldBranch>,
    /// The oldest first.
    pub steps: Vec<HeldStep>,
    /// In the order of their keys.
    pub marks: Vec<Mark>,
    /// Set: there is more, which begins here.
    pub cursor: Option<Cursor>,
}

const DEFAULT_LIMIT: usize = 1_000;

/// The two lists that a cursor leads into: its first byte.
const BRANCHES: u8 = 1;
const MARKS: u8 = 2;

/// A place in the list as a whole.
enum Place {
    Branches(Bytes),
    Marks(Bytes),
}

impl Place {
    fn first(filter: HeldFilter) -> Place {
        match filter {
            HeldFilter::All | HeldFilter::Work | HeldFilter::InDoubt => Place::Branches(Bytes::new()),
            HeldFilter::Marks => Place::Marks(Bytes::new()),
        }
    }

    fn of(filter: HeldFilter, cursor: Option<&Cursor>) -> Option<Place> {
        let Some(Cursor(bytes)) = cursor else { return Some(Place::first(filter)) };
        match bytes.first() {
            Some(&BRANCHES) => Some(Place::Branches(bytes.slice(1..))),
            Some(&MARKS) => Some(Place::Marks(bytes.slice(1..))),
            Some(_) | None => None,
        }
    }

    fn cursor(&self) -> Cursor {
        let (list, place) = match self {
            Place::Branches(place) => (BRANCHES, place),
            Place::Marks(place) => (MARKS, place),
        };
        Cursor([&[list][..], place].concat().into())
    }
}

impl Held {
    fn len(&self) -> usize {
        self.branches.len() + self.steps.len() + self.marks.len()
    }
}

impl ParticipantClient {
    /// Returns what the participant holds, page after page until the limit is reached or there is no more.
    pub async fn held(&self, query: &HeldQuery) -> Result<Held, OperatorError> {
        let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit as usize };
        let mut held = Held::default();
        let mut place = Some(Place::of(query.filter, query.after.as_ref()).ok_or_else(|| OperatorError::Refused {
            address: self.connection.address.to_string(),
            message: "this is no cursor of what a participant holds; leave it out to begin".to_owned(),
            reason: None,
        })?);
        while let Some(at) = place.take() {
            if held.len() >= limit {
                held.cursor = Some(at.cursor());
                break;
            }
            let left = u32::try_from(limit - held.len()).unwrap_or(u32::MAX);
            place = match at {
                Place::Branches(after) => self.branches(query.filter, left, after, &mut held).await?,
                Place::Marks(after) => self.marks(left, after, &mut held).await?,
            };
        }
        Ok(held)
    }

    async fn branches(
        &self,
        filter: HeldFilter,
        limit: u32,
        after: Bytes,
        held: &mut Held,
    ) -> Result<Option<Place>, OperatorError> {
        let list = |request| {
            let mut admin = self.admin();
            async move { admin.list_branches(request).await }
        };
        let in_doubt_only = filter == HeldFilter::InDoubt;
        let request = v1::ListBranchesRequest { in_doubt_only, limit, after: after.clone() };
        let page: Page = self.connection.ask("branches", request, list).await?;
        let next_list = (filter == HeldFilter::All).then_some(Place::Marks(Bytes::new()));
        Ok(self.add(held, page, &after)?.map(Place::Branches).or(next_list))
    }

    async fn marks(&self, limit: u32, after: Bytes, held: &mut Held) -> Result<Option<Place>, OperatorError> {
        let list = |request| {
            let mut admin = self.admin();
            async move { admin.list_marks(request).await }
        };
        let request = v1::ListMarksRequest { after: after.clone(), limit };
        let page: Page = self.connection.ask("marks", request, list).await?;
        Ok(self.add(held, page, &after)?.map(Place::Marks))
    }

    /// Adds a page, and returns where the next one begins, if there is more.
    fn add(&self, held: &mut Held, page: Page, after: &Bytes) -> Result<Option<Bytes>, OperatorError> {
        held.branches.extend(page.branches);
        held.steps.extend(page.steps);
        held.marks.extend(page.marks);
        match page.next {
            // One that does not get on would be asked for ever.
            Some(next) if next <= *after => {
                let cause = Malformed::Unexpected { field: "cursor" };
                Err(OperatorError::malformed(&self.connection.address, cause))
            }
            next => Ok(next),
        }
    }
}

#[derive(Default)]
struct Page {
    branches: Vec<HeldBranch>,
    steps: Vec<HeldStep>,
    marks: Vec<Mark>,
    next: Option<Bytes>,
}

impl TryFrom<v1::ListBranchesResponse> for Page {
    type Error = Malformed;

    fn try_from(wire: v1::ListBranchesResponse) -> Result<Self, Malformed> {
        let next = wire.more.then_some(wire.cursor);
        Ok(Page { branches: all(wire.branches)?, steps: all(wire.steps)?, next, ..Page::default() })
    }
}

impl TryFrom<v1::ListMarksResponse> for Page {
    type Error = Malformed;

    fn try_from(wire: v1::ListMarksResponse) -> Result<Self, Malformed> {
        Ok(Page { marks: all(wire.marks)?, next: wire.more.then_some(wire.cursor), ..Page::default() })
    }
}
