//! Branches that come together, for resources to which many at once are cheaper than each by itself.

use super::{Branches, Ended, ResourceError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant_core::branch_id::BranchId;
use undoubt_vocabulary::{DigestMap, Prepare, Refusal, RefusalCode, Vote};

/// The votes of some branches.
pub type Votes = Vec<(BranchId, Vote)>;

/// The outcome of preparing branches together.
#[derive(Debug, Default)]
pub struct Voted {
    pub votes: Votes,
    /// Branches for whose results there was no room. Nothing is left behind of them.
    pub put_off: Vec<(BranchId, Prepare)>,
    /// Branches of which it is [unclear](ResourceError::Unclear) what became, and why.
    pub unclear: Vec<(BranchId, Prepare, String)>,
    /// The time for which branches waited for their locks, of those that did.
    pub waited: Vec<(BranchId, Duration)>,
}

/// Some of the branches that are prepared together.
pub type Preparing = BoxFuture<'static, Result<Voted, ResourceError>>;

/// Some of the branches that are committed together: which, and when all of them are, as they were told.
pub type Committing = (Vec<BranchId>, BoxFuture<'static, Result<(), ResourceError>>);

/// Prepares each branch by itself.
pub fn prepare_each<R: Branches>(
    resource: &Arc<R>,
    calls: Vec<(BranchId, Prepare)>,
    cancellations: &mut Cancellations,
) -> Vec<Preparing> {
    let one = |(branch, prepare): (BranchId, Prepare)| {
        let (resource, token) = (resource.clone(), cancellations.token(&branch));
        async move {
            let vote = match resource.prepare(branch.clone(), prepare.clone(), token).await {
                Ok(vote) => vote,
                Err(ResourceError::NoRoom) => {
                    return Ok(Voted { put_off: vec![(branch, prepare)], ..Voted::default() });
                }
                Err(ResourceError::Unclear { cause }) => {
                    return Ok(Voted { unclear: vec![(branch, prepare, cause)], ..Voted::default() });
                }
                Err(ResourceError::Unavailable { cause }) => {
                    Vote::Refused(Refusal::new(RefusalCode::Unavailable, cause))
                }
                Err(
                    ends @ (ResourceError::Foreign { .. }
                    | ResourceError::Stopped { .. }
                    | ResourceError::Fenced { .. }),
                ) => return Err(ends),
            };
            Ok(Voted { votes: vec![(branch, vote)], ..Voted::default() })
        }
        .boxed()
    };
    calls.into_iter().map(one).collect()
}

/// Commits each branch by itself.
pub fn commit_each<R: Branches>(resource: &Arc<R>, branches: Vec<BranchId>) -> Vec<Committing> {
    let one = |branch: BranchId| {
        let (resource, committed) = (resource.clone(), branch.clone());
        let committed = async move {
            match resource.commit(committed).await? {
                Ended::AsTold => Ok(()),
                // The server asks for each by itself, and hears it then.
                Ended::Gone => Err(ResourceError::Unclear { cause: "somebody else has ended it".to_owned() }),
            }
        };
        (vec![branch], committed.boxed())
    };
    branches.into_iter().map(one).collect()
}

/// The tokens by which waits for locks are ended before their time. Few branches have to wait, and only those get a
/// token.
#[derive(Debug, Default)]
pub struct Cancellations(DigestMap<BranchId, CancellationToken>);

impl Cancellations {
    /// Returns what ends this branch's wait.
    pub fn token(&mut self, branch: &BranchId) -> CancellationToken {
        self.0.get_or_insert_with(branch.clone(), CancellationToken::new).clone()
    }

    /// Returns true if the branch need not even begin to wait.
    pub fn is_cancelled(&self, branch: &BranchId) -> bool {
        self.0.get(branch).is_some_and(CancellationToken::is_cancelled)
    }

    /// Forgets the branch, which waits no more.
    pub(crate) fn remove(&mut self, branch: &BranchId) {
        self.0.remove(branch);
    }

    pub(crate) fn cancel_all(&self) {
        self.0.in_any_order().for_each(|(_, token)| token.cancel());
    }
}
