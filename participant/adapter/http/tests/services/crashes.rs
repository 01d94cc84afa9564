//! A participant that crashes at each write and at each call, before and after it: nothing takes effect twice, nothing that was tried is left
//! held, and what was decided is done.

use crate::support::bank::{Bank, Change};
use crate::support::memory::MemoryStore;
use crate::support::server::Server;
use crate::support::{branch, open, prepare, run, step, work};
use bytes::Bytes;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use undoubt_http::HttpServices;
use undoubt_participant::resource::{
    Branches as _, Ended, Recovered, Resource as _, ResourceError, StepState, Steps as _,
};
use undoubt_platform::store::Completion;
use undoubt_platform::{Batch, Direction as Scan, Durability, Family, Room, Store, StoreError, Written};
use undoubt_vocabulary::{Direction, Execution, StepOutcome, Vote};
use undoubt_work::http::{HttpWork, Request};

/// The moment of a crash: how many writes and calls are passed before it, each counted before and after.
#[derive(Default)]
struct Crash {
    at: usize,
    passed: AtomicUsize,
    is_over: AtomicBool,
    crashed: Notify,
}

impl Crash {
    fn at(at: usize) -> Arc<Crash> {
        Arc::new(Crash { at, ..Crash::default() })
    }

    fn never() -> Arc<Crash> {
        Crash::at(usize::MAX)
    }

    /// Returns true if the process is still there after this moment.
    fn passes(&self) -> bool {
        if self.is_over.load(Ordering::Relaxed) {
            return false;
        }
        if self.passed.fetch_add(1, Ordering::Relaxed) == self.at {
            self.is_over.store(true, Ordering::Relaxed);
            self.crashed.notify_one();
            return false;
        }
        true
    }

    /// Returns what came of it; `None`: the process crashed in its midst.
    async fn until<T>(&self, life: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.crashed.notified() => None,
            done = life => Some(done),
        }
    }
}

/// A store of a process that crashes: what it writes then is there, or is not, and nobody hears of it.
struct CrashingStore {
    store: Arc<MemoryStore>,
    crash: Arc<Crash>,
    unanswered: Mutex<Vec<Completion>>,
}

impl CrashingStore {
    fn unanswered(&self) -> Written {
        let (completion, written) = Written::pending();
        self.unanswered.lock().unwrap().push(completion);
        written
    }
}

impl Store for CrashingStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Scan,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.store.scan(family, from, to, direction, limit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Written {
        if !self.crash.passes() {
            return self.unanswered();
        }
        let written = self.store.write(batch, durability);
        if self.crash.passes() { written } else { self.unanswered() }
    }

    fn max_batch_bytes(&self) -> usize {
        self.store.max_batch_bytes()
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.store.room()
    }
}

/// A bank, and a participant in front of it, life after life.
struct World {
    bank: Arc<Mutex<Bank>>,
    crash: Arc<Mutex<Arc<Crash>>>,
    server: Server,
    store: Arc<MemoryStore>,
}

impl World {
    async fn new() -> World {
        let (bank, crash) = (Arc::new(Mutex::new(Bank::default())), Arc::new(Mutex::new(Crash::never())));
        let (at_the_bank, crashes) = (bank.clone(), crash.clone());
        let server = Server::later(move |asked| {
            let (bank, crash) = (at_the_bank.clone(), crashes.lock().unwrap().clone());
            Box::pin(async move {
                if !crash.passes() {
                    pending::<()>().await;
                }
                let answer = bank.lock().unwrap().answer(&asked);
                if !crash.passes() {
                    pending::<()>().await;
                }
                Some(answer)
            })
        })
        .await;
        World { bank, crash, server, store: Arc::default() }
    }

    /// Returns the participant of the next life, which ends at this moment, and what it has recovered.
    async fn life(&mut self, crash: Arc<Crash>) -> (Arc<Crash>, HttpServices, Recovered) {
        self.store = Arc::new(self.store.crashed());
        let owner = "p".parse().unwrap();
        // It is claimed before any crash.
        open(self.store.clone(), &self.server.url).recover(&owner).await.unwrap();
        let (store, unanswered) = (self.store.clone(), Mutex::default());
        let http = open(Arc::new(CrashingStore { store, crash: crash.clone(), unanswered }), &self.server.url);
        let recovered = http.recover(&owner).await.unwrap();
        *self.crash.lock().unwrap() = crash.clone();
        (crash, http, recovered)
    }

    fn change(&self, delta: i64) -> Request {
        let change = Change { key: "k".to_owned(), add: Some(delta), ..Change::default() };
        Request::post(&format!("{}/accounts", self.server.url)).json(serde_json::to_value(change).unwrap())
    }

    fn branch(&self) -> HttpWork {
        let url = |end: &str| Request::post(&format!("{}/{end}", self.server.url));
        HttpWork::try_then(self.change(5), url("confirm"), url("cancel"))
    }

    fn value(&self) -> Option<String> {
        let bank = self.bank.lock().unwrap();
        assert!(bank.effects.values().all(|times| *times == 1), "no effect twice: {:?}", bank.effects);
        assert!(bank.held.is_empty(), "nothing is held any more: {:?}", bank.held);
        bank.values.get("k").cloned()
    }
}

async fn act(http: &HttpServices, world: &World) {
    loop {
        let run = run(&step(0), Direction::Forward, work(world.change(5)));
        match http.act(step(0), run, CancellationToken::new()).await.unwrap() {
            StepOutcome::Done { .. } => return,
            StepOutcome::Refused(_) | StepOutcome::Empty => {}
        }
    }
}

/// Undoes as the server does what it knows in this state.
async fn undo(http: &HttpServices, world: &World, state: Option<StepState>) {
    match state {
        None => http.store_empty(step(0)).await.unwrap(),
        Some(StepState::Compensated | StepState::Completed | StepState::Empty) => {}
        Some(StepState::Acted { .. } | StepState::Attempted) => loop {
            let result = http.result_of_step(step(0)).await.unwrap().unwrap_or_default();
            let run = run(&step(0), Direction::Compensating, work(world.change(-5)));
            let run = undoubt_vocabulary::RunStep { inputs: vec![result], ..run };
            match http.compensate(step(0), run).await.unwrap() {
                StepOutcome::Done { .. } => return,
                StepOutcome::Refused(_) | StepOutcome::Empty => {}
            }
        },
    }
}

/// Ends a branch, asking until it is ended.
async fn end(http: &HttpServices, commit: bool) -> Ended {
    loop {
        let ended = if commit { http.commit(branch()).await } else { http.abort(branch()).await };
        match ended {
            Ok(ended) => return ended,
            Err(ResourceError::Unavailable { .. } | ResourceError::Unclear { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The moments that are tried at most; each scenario has fewer, so the last run of it is without a crash.
const MOMENTS: usize = 40;

#[tokio::test]
async fn an_action_takes_effect_once_wherever_the_participant_crashes() {
    let mut ran_through = false;
    for (first, second) in (0..MOMENTS).map(|at| (at, usize::MAX)).chain((0..12).map(|at| (3, at))) {
        let mut world = World::new().await;
        let (crash, http, _) = world.life(Crash::at(first)).await;
        ran_through |= crash.until(act(&http, &world)).await.is_some();
        drop(http);
        let (crash, http, _) = world.life(Crash::at(second)).await;
        if http.settle_step(step(0)).await.unwrap().is_none_or(|state| state == StepState::Attempted) {
            crash.until(act(&http, &world)).await;
        }
        drop(http);
        let (_, http, recovered) = world.life(Crash::never()).await;
        if !recovered.steps.iter().any(|kept| matches!(kept.state, StepState::Acted { .. })) {
            act(&http, &world).await;
        }
        assert_eq!(world.value().as_deref(), Some("5"), "crashes at {first} and {second}");
    }
    assert!(ran_through, "there are no more moments than are tried");
}

#[tokio::test]
async fn what_may_have_taken_effect_is_undone_wherever_the_participant_crashes() {
    let mut ran_through = false;
    for at in 0..MOMENTS {
        let mut world = World::new().await;
        let (crash, http, _) = world.life(Crash::at(at)).await;
        let forth_and_back = async {
            act(&http, &world).await;
            let state = http.settle_step(step(0)).await.unwrap();
            undo(&http, &world, state).await;
        };
        ran_through |= crash.until(forth_and_back).await.is_some();
        drop(http);
        let (_, http, recovered) = world.life(Crash::never()).await;
        let state = recovered.steps.into_iter().next().map(|kept| kept.state);
        undo(&http, &world, state).await;
        let left = world.value();
        assert!(matches!(left.as_deref(), None | Some("0")), "a crash at {at} leaves {left:?}");
        // An action that was sent may still be on its way.
        if world.bank.lock().unwrap().effects.keys().any(|key| key.ends_with("/compensation")) {
            let late = late_action(&world).await;
            assert!(matches!(world.value().as_deref(), None | Some("0")), "a late action is refused: {late}");
        }
    }
    assert!(ran_through, "there are no more moments than are tried");
}

/// Sends the action once more, as a network does that has kept it back.
async fn late_action(world: &World) -> String {
    let http = open(Arc::new(MemoryStore::default()), &world.server.url);
    let run = run(&step(0), Direction::Forward, work(world.change(5)));
    format!("{:?}", http.act(step(0), run, CancellationToken::new()).await)
}

#[tokio::test]
async fn a_branch_ends_as_it_is_decided_wherever_the_participant_crashes() {
    for commit in [true, false] {
        let mut ran_through = false;
        for at in 0..MOMENTS {
            let mut world = World::new().await;
            let (crash, http, _) = world.life(Crash::at(at)).await;
            let voted = AtomicBool::new(false);
            let whole = async {
                let vote = http
                    .prepare(branch(), prepare(world.branch(), Execution::TwoPhase), CancellationToken::new())
                    .await;
                assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
                voted.store(true, Ordering::Relaxed);
                assert_eq!(end(&http, commit).await, Ended::AsTold);
            };
            ran_through |= crash.until(whole).await.is_some();
            drop(http);
            let (_, http, recovered) = world.life(Crash::never()).await;
            // Nobody commits what was not voted.
            let commits = commit && voted.load(Ordering::Relaxed);
            if voted.load(Ordering::Relaxed) {
                let known = recovered.prepared.len() + recovered.aborting.len() + recovered.finished.len();
                assert!(known > 0 || !commits, "a vote is durable (R2)");
            }
            for _ in 0..2 {
                assert_eq!(end(&http, commits).await, Ended::AsTold, "a crash at {at}");
            }
            assert_eq!(world.value().as_deref(), commits.then_some("5"), "a crash at {at}");
            if !commits {
                let tried_again = prepare(world.branch(), Execution::TwoPhase);
                let late = http.prepare(branch(), tried_again, CancellationToken::new()).await.unwrap();
                let was_tried = world.bank.lock().unwrap().effects.keys().any(|key| key.ends_with("/cancel"));
                assert!(
                    !was_tried || matches!(late, Vote::Refused(_)),
                    "what was cancelled is not tried again: {late:?}"
                );
            }
        }
        assert!(ran_through, "there are no more moments than are tried");
    }
}

#[tokio::test]
async fn a_branch_that_is_alone_is_done_or_not_wherever_the_participant_crashes() {
    let mut ran_through = false;
    for at in 0..MOMENTS {
        let mut world = World::new().await;
        let (crash, http, _) = world.life(Crash::at(at)).await;
        let work = prepare(world.branch(), Execution::OnePhase);
        let vote = crash.until(http.prepare(branch(), work, CancellationToken::new())).await;
        ran_through |= vote.is_some();
        drop(http);
        let (_, http, recovered) = world.life(Crash::never()).await;
        let (told, settles) = (!recovered.finished.is_empty(), !recovered.settling.is_empty());
        assert!(told || vote.is_none(), "what was told as committed stays so");
        if !recovered.aborting.is_empty() {
            assert_eq!(end(&http, false).await, Ended::AsTold);
        }
        let committed = http.settle(branch()).await.unwrap().is_some();
        assert_eq!(committed, told || settles, "a crash at {at}");
        assert_eq!(world.value().as_deref(), committed.then_some("5"), "a crash at {at}");
    }
    assert!(ran_through, "there are no more moments than are tried");
}

#[tokio::test]
async fn a_branch_that_is_alone_and_was_let_go_while_its_participant_was_away_is_told_as_refused() {
    let mut times_let_go = 0;
    for at in 0..MOMENTS {
        let mut world = World::new().await;
        let (crash, http, _) = world.life(Crash::at(at)).await;
        let work = prepare(world.branch(), Execution::OnePhase);
        crash.until(http.prepare(branch(), work, CancellationToken::new())).await;
        drop(http);
        let (_, http, recovered) = world.life(Crash::never()).await;
        if recovered.settling.is_empty() || world.bank.lock().unwrap().held.is_empty() {
            continue;
        }
        // Another hand has ended what was held.
        world.bank.lock().unwrap().held.clear();
        times_let_go += 1;
        let settled = loop {
            match http.settle(branch()).await {
                Ok(settled) => break settled,
                Err(ResourceError::Unavailable { .. } | ResourceError::Unclear { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!((settled, world.value()), (None, None), "a crash at {at}");
        drop(http);
        let (_, http, recovered) = world.life(Crash::never()).await;
        assert!(recovered.settling.is_empty() && recovered.finished.is_empty(), "{recovered:?}");
        assert_eq!(http.settle(branch()).await, Ok(None), "it stays so");
    }
    assert!(times_let_go > 0, "there are moments at which only the confirm is lacking");
}

#[tokio::test]
async fn a_confirm_that_is_refused_is_stuck_and_then_reported_as_ended_the_other_way() {
    let mut world = World::new().await;
    let (_, http, _) = world.life(Crash::never()).await;
    let vote = http.prepare(branch(), prepare(world.branch(), Execution::TwoPhase), CancellationToken::new()).await;
    assert!(matches!(vote, Ok(Vote::Prepared { .. })));
    // Another hand has ended what was held.
    world.bank.lock().unwrap().held.clear();
    for refused in 1..20 {
        let stuck = http.commit(branch()).await;
        assert!(matches!(stuck, Err(ResourceError::Unavailable { .. })), "it is asked again: {stuck:?}");
        let health = http.health();
        assert!(health.warnings[0].contains(&format!("({refused} times)")), "{:?}", health.warnings);
    }
    assert_eq!(http.commit(branch()).await, Ok(Ended::Gone));
    let heuristic = undoubt_participant::resource::Heuristic {
        commit: false,
        at: undoubt_vocabulary::Timestamp(1),
        who: "unknown".into(),
        reason: "gone".into(),
        decision: Some(true),
    };
    http.store_heuristic(branch(), undoubt_vocabulary::Timestamp(1), heuristic).await.unwrap();
    assert!(http.health().warnings.is_empty());
    drop(http);
    let (_, _, recovered) = world.life(Crash::never()).await;
    assert_eq!((recovered.heuristics.len(), recovered.prepared.len()), (1, 0));
    assert_eq!(world.value(), None);
}
