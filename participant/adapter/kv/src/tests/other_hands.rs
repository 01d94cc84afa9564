//! Answers that are lost, and hands other than the adapter's: rules that need a resource which has such days.

use super::world::MemoryWorld;
use crate::KeyValue;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio_util::sync::CancellationToken;
use undoubt_participant::conformance::{SharedWorld, UnclearWorld, other_hands, unclear, unclear_ends};
use undoubt_participant::resource::{
    BranchId, Branches, Ended, Heuristic, Pin, Recovered, Resource, ResourceError, StepId, StepState, Steps,
};
use undoubt_vocabulary::{
    CoordinatorId, Epoch, LowWaterMark, ParticipantName, Prepare, RunStep, StepOutcome, Timestamp, Vote,
};

#[tokio::test(start_paused = true)]
async fn a_resource_that_loses_answers_finds_out_what_became_of_its_calls() {
    let mut world = MemoryWorld::new(Remote::over);
    unclear(&mut world).await;
    unclear_ends(&mut world).await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_others_reach_tells_what_they_have_ended() {
    other_hands(&mut MemoryWorld::new(Remote::over)).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a commit of what somebody else has undone is no success")]
async fn taking_no_notice_of_other_hands_is_found_out() {
    other_hands(&mut MemoryWorld::new(|sound| Remote { blind: true, ..Remote::over(sound) })).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "what became of an unclear branch is told as it is")]
async fn guessing_what_became_of_an_unclear_branch_is_found_out() {
    unclear(&mut MemoryWorld::new(|sound| Remote { guesses: true, ..Remote::over(sound) })).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a resource that others reach says so")]
async fn keeping_quiet_about_what_others_can_commit_is_found_out() {
    other_hands(&mut MemoryWorld::new(|sound| Remote { keeps_quiet: true, ..Remote::over(sound) })).await;
}

/// A key-value store at the end of a bad line, which others reach too.
struct Remote {
    sound: KeyValue,
    /// The next call takes effect or does not, and its answer is lost.
    loses: Mutex<Option<bool>>,
    /// What others have ended, and how.
    ended: Mutex<BTreeMap<BranchId, bool>>,
    blind: bool,
    guesses: bool,
    /// It does not say that others can commit.
    keeps_quiet: bool,
}

impl Remote {
    fn over(sound: KeyValue) -> Remote {
        let (loses, ended) = (Mutex::default(), Mutex::default());
        Remote { sound, loses, ended, blind: false, guesses: false, keeps_quiet: false }
    }

    async fn over_the_line<T>(&self, call: impl Future<Output = Result<T, ResourceError>>) -> Result<T, ResourceError> {
        let unclear = || Err(ResourceError::Unclear { cause: "its answer was lost".to_owned() });
        let loses = self.loses.lock().unwrap().take();
        match loses {
            None => call.await,
            Some(false) => unclear(),
            Some(true) => call.await.and_then(|_| unclear()),
        }
    }

    fn gone(&self, branch: &BranchId, commit: bool) -> bool {
        !self.blind && self.ended.lock().unwrap().get(branch).is_some_and(|committed| *committed != commit)
    }
}

impl UnclearWorld for MemoryWorld<Remote> {
    fn lose_the_next_answer(&self, resource: &Remote, takes_effect: bool) {
        *resource.loses.lock().unwrap() = Some(takes_effect);
    }
}

impl SharedWorld for MemoryWorld<Remote> {
    async fn end_by_another_hand(&self, resource: &Remote, branch: &BranchId, commit: bool) {
        let ended = match commit {
            true => resource.sound.commit(branch.clone()).await,
            false => resource.sound.abort(branch.clone()).await,
        };
        ended.unwrap();
        resource.ended.lock().unwrap().insert(branch.clone(), commit);
    }
}

impl Resource for Remote {
    fn kind(&self) -> &'static str {
        "remote"
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        self.sound.recover(owner).await
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        self.sound.record_epoch(coordinator, epoch, pin).await
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        self.sound.collect(coordinator, over).await
    }
}

impl Steps for Remote {
    async fn act(&self, step: StepId, run: RunStep, off: CancellationToken) -> Result<StepOutcome, ResourceError> {
        self.over_the_line(self.sound.act(step, run, off)).await
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        self.over_the_line(self.sound.compensate(step, run)).await
    }

    fn takes_open_sagas(&self) -> bool {
        self.sound.takes_open_sagas()
    }

    async fn complete(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        self.over_the_line(self.sound.complete(step, run)).await
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        self.over_the_line(self.sound.store_empty(step)).await
    }

    async fn settle_step(&self, step: StepId) -> Result<Option<StepState>, ResourceError> {
        self.sound.settle_step(step).await
    }
}

impl Branches for Remote {
    fn others_can_commit(&self) -> bool {
        !self.keeps_quiet
    }

    async fn prepare(&self, id: BranchId, prepare: Prepare, off: CancellationToken) -> Result<Vote, ResourceError> {
        self.over_the_line(self.sound.prepare(id, prepare, off)).await
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        self.sound.confirm(branch).await
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        if self.gone(&branch, true) {
            return Ok(Ended::Gone);
        }
        self.over_the_line(self.sound.commit(branch)).await
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        if self.gone(&branch, false) {
            return Ok(Ended::Gone);
        }
        self.over_the_line(self.sound.abort(branch)).await
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        self.sound.resolve(branch, heuristic).await
    }

    async fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        self.sound.store_heuristic(branch, begun_at, heuristic).await
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        self.sound.forget_heuristic(branch).await
    }

    async fn settle(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        if self.guesses { Ok(None) } else { self.sound.settle(branch).await }
    }
}
