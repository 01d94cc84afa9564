//! The suite of every resource, over a service that keeps its side of the contract.

mod support;

use bytes::Bytes;
use std::sync::{Arc, Mutex};
use support::bank::{Bank, Change, serve};
use support::memory::MemoryStore;
use support::server::Server;
use support::{open, work};
use undoubt_http::HttpServices;
use undoubt_participant::conformance::{self, World};
use undoubt_work::Results;
use undoubt_work::http::Request;

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
        (self.store, *self.bank.lock().unwrap()) = (Arc::default(), Bank::default());
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
        let results = Results::read(result);
        let body: serde_json::Value = serde_json::from_slice(&results.answer().unwrap().body).unwrap();
        body["value"].as_str().map(str::to_owned)
    }
}

#[tokio::test]
async fn it_takes_steps_as_every_resource_does() {
    conformance::steps(&mut StepsWorld::new().await).await;
}
