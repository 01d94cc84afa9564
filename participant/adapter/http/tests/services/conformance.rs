//! The suite of every resource, over a service that keeps its side of the contract.

use crate::support::bank::{Bank, Change, serve};
use crate::support::memory::MemoryStore;
use crate::support::server::Server;
use crate::support::{open, work};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use undoubt_http::HttpServices;
use undoubt_participant::conformance::{self, BranchWorld, Locking, UnclearWorld, World};
use undoubt_work::Results;
use undoubt_work::Work;
use undoubt_work::http::{HttpWork, Method, Request};

fn value(result: &Bytes) -> Option<String> {
    let results = Results::read(result);
    let body: serde_json::Value = serde_json::from_slice(&results.answer().unwrap().body).unwrap();
    body["value"].as_str().map(str::to_owned)
}

/// A bank whose accounts are changed by the steps of sagas.
struct StepsWorld {
    bank: Arc<Mutex<Bank>>,
    store: Arc<MemoryStore>,
    server: Server,
}

impl StepsWorld {
    async fn new() -> StepsWorld {
        let bank = Arc::default();
        let server = serve(Arc::clone(&bank)).await;
        StepsWorld { bank, store: Arc::default(), server }
    }

    fn change(&self, change: Change) -> Bytes {
        let url = format!("{}/accounts", self.server.url);
        work(Request::post(&url).json(serde_json::to_value(change).unwrap()))
    }
}

impl World for StepsWorld {
    type Resource = HttpServices;

    async fn fresh(&mut self) -> HttpServices {
        // A request of the world before may still be on its way.
        *self = StepsWorld::new().await;
        open(self.store.clone(), &self.server.url)
    }

    async fn reopen(&mut self) -> HttpServices {
        self.store = Arc::new(self.store.crashed());
        open(self.store.clone(), &self.server.url)
    }

    async fn read(&self, _: &Arc<HttpServices>, key: &str) -> Option<String> {
        self.bank.lock().unwrap().values.get(key).cloned()
    }

    fn put(&self, key: &str, value: &str) -> Bytes {
        self.change(Change { key: key.to_owned(), put: Some(value.to_owned()), ..Change::default() })
    }

    fn get(&self, key: &str) -> Bytes {
        self.change(Change { key: key.to_owned(), ..Change::default() })
    }

    fn add(&self, key: &str, delta: i64, floor: Option<i64>) -> Bytes {
        self.change(Change { key: key.to_owned(), add: Some(delta), floor, ..Change::default() })
    }

    fn value(&self, result: &Bytes) -> Option<String> {
        value(result)
    }

    fn works_elsewhere(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn it_takes_steps_as_every_resource_does() {
    let mut world = StepsWorld::new().await;
    conformance::steps(&mut world).await;
    conformance::attempts(&mut world).await;
}

/// A bank whose accounts are changed by a try, and a confirm or a cancel.
struct BranchesWorld(StepsWorld);

impl BranchesWorld {
    async fn new() -> BranchesWorld {
        BranchesWorld(StepsWorld::new().await)
    }

    fn change(&self, change: Change) -> Bytes {
        let url = |end: &str| format!("{}/{end}", self.0.server.url);
        let tries = Request::post(&url("try")).json(serde_json::to_value(change).unwrap());
        let work = HttpWork::try_then(tries, Request::post(&url("confirm")), Request::post(&url("cancel")));
        Work::from(work).encode(&[]).unwrap()
    }
}

impl World for BranchesWorld {
    type Resource = HttpServices;

    async fn fresh(&mut self) -> HttpServices {
        self.0.fresh().await
    }

    async fn reopen(&mut self) -> HttpServices {
        self.0.reopen().await
    }

    async fn read(&self, resource: &Arc<HttpServices>, key: &str) -> Option<String> {
        self.0.read(resource, key).await
    }

    fn put(&self, key: &str, value: &str) -> Bytes {
        self.change(Change { key: key.to_owned(), put: Some(value.to_owned()), ..Change::default() })
    }

    fn get(&self, key: &str) -> Bytes {
        work(Request::new(Method::Get, &format!("{}/accounts/{key}", self.0.server.url)))
    }

    fn add(&self, key: &str, delta: i64, floor: Option<i64>) -> Bytes {
        self.change(Change { key: key.to_owned(), add: Some(delta), floor, ..Change::default() })
    }

    fn value(&self, result: &Bytes) -> Option<String> {
        value(result)
    }

    fn works_elsewhere(&self) -> bool {
        true
    }
}

impl BranchWorld for BranchesWorld {
    fn locking(&self) -> Locking {
        Locking::BoundedWaits
    }

    fn votes_read_only(&self) -> bool {
        false
    }
}

impl UnclearWorld for BranchesWorld {
    fn lose_the_next_answer(&self, _: &HttpServices, takes_effect: bool) {
        self.0.bank.lock().unwrap().losing = Some((takes_effect, None));
    }
}

#[tokio::test]
async fn it_takes_branches_as_every_resource_does() {
    let mut world = BranchesWorld::new().await;
    conformance::branches(&mut world).await;
    conformance::unclear_branches(&mut world).await;
}
