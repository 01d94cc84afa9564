//! Coordinator, participants over HTTP services, and three services with a database each, all killed at random moments under a load
//! of every kind of transaction. Then each database is opened, and each transaction is in effect everywhere or nowhere, once.
//!
//! `KILLS=100` says how often; `make service-kills` does. What the services do is in `service_kills/service.py`.

mod audit;
mod customer;
mod fate;
mod house;
mod kinds;

use crate::support::http::{Answer, try_get, try_post};
use audit::{Books, Rows, audit};
use customer::Customer;
use fate::Fate;
use house::{House, Manners, SERVICES, STORE, Victim};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use undoubt_platform::{Random as _, SeededRandom};

/// Kills in the tests of every day.
const KILLS: u64 = 12;

const CUSTOMERS: u64 = 12;

/// Transactions that are asked for, however few kills there are.
const LEAST_LOAD: u64 = 400;

/// The longest time that a process is let live, or is left dead.
const MOMENT_MS: u64 = 700;

/// The time in which all has to end by itself once nobody is killed any more.
const SETTLE_PATIENCE: Duration = Duration::from_secs(180);

const POLL: Duration = Duration::from_millis(100);

/// Keys that are read at a time.
const KEYS_PER_READ: usize = 200;

/// The beginning of the ids of transactions that only look.
const LOOKING: &str = "look-";

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")))
}

/// Customers who ask for one transaction after another until they are told to end.
struct Load {
    ends: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    customers: JoinSet<Vec<Fate>>,
}

impl Load {
    fn begin(house: &House, seed: u64) -> Load {
        let (ends, asked, mut customers) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), JoinSet::new());
        for number in 0..CUSTOMERS {
            let customer = Customer::new(&house.places, seed.wrapping_mul(1_000).wrapping_add(number), asked.clone());
            let ends = ends.clone();
            customers.spawn(async move {
                let mut fates = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    fates.extend(customer.carry_out().await);
                }
                fates
            });
        }
        Load { ends, asked, customers }
    }

    /// Waits until this many transactions were asked for.
    async fn has_asked_for(&self, number: u64) {
        let asked = timeout(SETTLE_PATIENCE, async {
            while self.asked.load(Ordering::Relaxed) < number {
                sleep(POLL).await;
            }
        });
        asked.await.expect("customers ask for nothing");
    }

    async fn end(self) -> Vec<Fate> {
        self.ends.store(true, Ordering::Relaxed);
        let fates = timeout(SETTLE_PATIENCE, self.customers.join_all()).await.expect("customers do not end");
        fates.into_iter().flatten().collect()
    }
}

/// Kills at random moments; answers how often each.
async fn kill_all(house: &mut House, kills: u64, seed: u64) -> BTreeMap<Victim, u64> {
    let (random, mut killed) = (SeededRandom::new(seed), BTreeMap::new());
    let moment = async |most_ms: u64| sleep(Duration::from_millis(random.below(most_ms))).await;
    let mut number = 0;
    while number < kills {
        // Once in three times two die together.
        let together = if random.below(3) == 0 { 2 } else { 1 }.min(kills - number);
        let first = random.below(Victim::ALL.len() as u64);
        let other = first + 1 + random.below(Victim::ALL.len() as u64 - 1);
        let victims: Vec<Victim> = [first, other]
            .into_iter()
            .take(together as usize)
            .map(|place| Victim::ALL[place as usize % Victim::ALL.len()])
            .collect();
        moment(MOMENT_MS).await;
        for victim in &victims {
            house.kill(*victim).await;
            *killed.entry(*victim).or_default() += 1;
        }
        moment(MOMENT_MS / 2).await;
        for victim in &victims {
            house.launch(*victim);
        }
        // Once in four times they may be killed again while they recover.
        if random.below(4) != 0 {
            for victim in &victims {
                house.serves(*victim).await;
            }
        }
        number += together;
        println!("kill {number} of {kills}: {victims:?}");
    }
    for victim in Victim::ALL {
        house.serves(victim).await;
    }
    killed
}

async fn get(house: &House, path: &str) -> Answer {
    let deadline = Instant::now() + SETTLE_PATIENCE;
    loop {
        match try_get(house.places.gateway, path).await {
            Some(answer) if answer.status < 500 => return answer,
            _ => assert!(Instant::now() < deadline, "{path} is not answered"),
        }
        sleep(POLL).await;
    }
}

async fn post(house: &House, path: &str, body: &Value) -> Answer {
    let deadline = Instant::now() + SETTLE_PATIENCE;
    loop {
        match try_post(house.places.gateway, path, body).await {
            Some(answer) if answer.status < 500 => return answer,
            _ => assert!(Instant::now() < deadline, "{path} is not answered"),
        }
        sleep(POLL).await;
    }
}

/// Lists transactions: their ids and states.
async fn list(house: &House, filter: &str) -> Vec<(String, String)> {
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(house, &format!("/v1/transactions?filter={filter}&limit=1000{after}")).await.expect(200).json();
        for found in page["transactions"].as_array().unwrap() {
            let [tx, state] = ["tx", "state"].map(|field| found[field].as_str().unwrap().to_owned());
            listed.push((tx, state));
        }
        match page["cursor"].as_str() {
            Some(cursor) if page["more"] == true => after = format!("&after={cursor}"),
            _ => return listed,
        }
    }
}

/// Waits until nothing is under way at the coordinator, the participants and the services, or patience ends.
async fn settle(house: &House) {
    let deadline = Instant::now() + SETTLE_PATIENCE;
    while Instant::now() < deadline {
        let under_way = list(house, "open").await.len() + list(house, "unacknowledged").await.len();
        let mut held = house.open_branches().await > 0;
        for service in 0..SERVICES {
            let rows: Rows = serde_json::from_value(house.rows(service).await).unwrap();
            held |= rows.accounts.iter().any(|account| account.held != 0 || account.coming != 0);
        }
        if under_way == 0 && !held {
            return;
        }
        sleep(POLL).await;
    }
    println!("not all has ended in time: {:?}", list(house, "open").await);
}

async fn services(house: &House) -> Vec<Rows> {
    let mut services = Vec::new();
    for service in 0..SERVICES {
        services.push(serde_json::from_value(house.rows(service).await).unwrap());
    }
    services
}

/// Looks at everything: what the coordinator says, what the store holds, and, once its service is dead, each database.
async fn look(house: &mut House, fates: &[Fate]) -> Books {
    let mut books = Books::default();
    let listed = list(house, "all").await;
    books.answers = listed.into_iter().filter(|(tx, _)| !tx.starts_with(LOOKING)).collect();
    for filter in ["open", "unacknowledged", "stuck", "damaged"] {
        books.amiss.extend(list(house, filter).await.into_iter().map(|found| format!("{filter}: {found:?}")));
    }
    let ids: Vec<&str> = fates.iter().filter(|fate| fate.has_key).map(|fate| fate.id.as_str()).collect();
    for (number, ids) in ids.chunks(KEYS_PER_READ).enumerate() {
        let work: Vec<String> = ids.iter().map(|id| format!("get {id}")).collect();
        let document = json!({ "id": format!("{LOOKING}{number}"), "branches": { STORE: work } });
        let read = post(house, "/v1/transactions", &document).await.expect(200).json();
        let values = read["results"][STORE]["values"].as_array().unwrap_or_else(|| panic!("{read}")).clone();
        let known = ids.iter().zip(values).filter(|(_, value)| *value != Value::Null);
        books.keys.extend(known.map(|(id, _)| (*id).to_owned()));
    }
    // The coordinator tells of each transaction what its list says.
    for fate in fates {
        let seen = get(house, &format!("/v1/transactions/{}", fate.id)).await;
        let listed = books.answers.get(&fate.id).cloned();
        let alone = (seen.status == 200).then(|| seen.json()["state"].as_str().unwrap().to_owned());
        if alone != listed {
            books.amiss.push(format!("{} is listed as {listed:?}, and told as {alone:?}", fate.id));
        }
    }
    for service in 0..SERVICES {
        house.kill(Victim::Service(service)).await;
    }
    books.services = services(house).await;
    books
}

/// Prints what happened, for people.
fn tell(killed: &BTreeMap<Victim, u64>, house: &House, fates: &[Fate], books: &Books) {
    let mut kinds: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for fate in fates {
        let heard = if fate.told.is_some() { "heard" } else { "not heard by its caller" };
        let state = books.answers.get(&fate.id).map_or("never begun", String::as_str);
        *kinds.entry((fate.kind, state, heard)).or_default() += 1;
    }
    println!("{} transactions:", fates.len());
    for ((kind, state, heard), count) in kinds {
        println!("  {kind}: {count} {state}, {heard}");
    }
    println!("kills: {killed:?}, {} in all", killed.values().sum::<u64>());
    println!("services answered badly: {:?}", house.faults());
    let lines: usize = books.services.iter().map(|rows| rows.ledger.len()).sum();
    println!("lines in the ledgers of the services: {lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_each_step_is_done_once_or_undone_once_in_every_services_own_database() {
    let (kills, seed) = (variable("KILLS", KILLS), variable("SEED", 1));
    let mut house = House::start(seed, Manners::Bad).await;
    let load = Load::begin(&house, seed);
    let killed = kill_all(&mut house, kills, seed).await;
    // A few kills are soon over, and leave too little to look at.
    load.has_asked_for(LEAST_LOAD).await;
    let fates = load.end().await;
    settle(&house).await;
    let mut books = look(&mut house, &fates).await;
    tell(&killed, &house, &fates, &books);
    let wrong = audit(&fates, &books);
    assert!(wrong.is_empty(), "{} faults:\n{}\n{:#?}", wrong.len(), wrong.join("\n"), house.keep());
    for kind in ["declared saga", "two-phase commit", "open saga", "TCC as an open saga", "two-phase message"] {
        for state in ["committed", "aborted"] {
            let is_one = |fate: &&Fate| fate.kind == kind && books.answers.get(&fate.id).is_some_and(|is| is == state);
            assert!(fates.iter().any(|fate| is_one(&fate)), "no {kind} is {state}: that proves nothing");
        }
    }
    let undone = books.services.iter().flat_map(|rows| &rows.ledger).filter(|line| line.what == "undone").count();
    assert!(undone > 0, "nothing was undone: that proves nothing");
    // An audit of databases can fail.
    let doubled = "INSERT INTO ledger SELECT * FROM ledger WHERE what = 'done' LIMIT 1;";
    let planted = [
        (doubled, "twice"),
        ("DELETE FROM ledger WHERE rowid = (SELECT max(rowid) FROM ledger WHERE what = 'done');", "committed: "),
        ("DELETE FROM ledger WHERE rowid = (SELECT max(rowid) FROM ledger WHERE what = 'undone');", "committed: "),
        (
            "DELETE FROM ledger WHERE rowid = (SELECT max(rowid) FROM ledger WHERE what = 'completed');",
            "committed: true",
        ),
        ("UPDATE ledger SET tx = 'nobody' WHERE rowid = (SELECT max(rowid) FROM ledger);", "who asked for"),
        ("UPDATE account SET balance = balance + 1 WHERE name = 'account-1';", "its ledger says"),
        ("UPDATE account SET held = 1 WHERE name = 'account-2';", "still holds"),
    ];
    for (sql, said) in planted {
        let before = books.services.clone();
        house.tamper(0, &format!("CREATE TABLE kept_ledger AS SELECT * FROM ledger; CREATE TABLE kept_account AS SELECT * FROM account; {sql}")).await;
        books.services = services(&house).await;
        let found = audit(&fates, &books);
        assert!(found.iter().any(|wrong| wrong.contains(said)), "{sql} goes unnoticed: {found:?}");
        let back = "DELETE FROM ledger; INSERT INTO ledger SELECT * FROM kept_ledger; DROP TABLE kept_ledger;
                    DELETE FROM account; INSERT INTO account SELECT * FROM kept_account; DROP TABLE kept_account;";
        house.tamper(0, back).await;
        books.services = before;
    }
    let told = fates.iter().find(|fate| fate.told == Some(true)).unwrap().id.clone();
    books.answers.insert(told, "aborted".to_owned());
    assert!(audit(&fates, &books).iter().any(|wrong| wrong.contains("was told as")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_keeps_no_barrier_is_found_out() {
    let mut house = House::start(7, Manners::Forgetful).await;
    let load = Load::begin(&house, 7);
    load.has_asked_for(150).await;
    let fates = load.end().await;
    let books = look(&mut house, &fates).await;
    let found: BTreeSet<String> =
        audit(&fates, &books).into_iter().filter(|wrong| wrong.starts_with("twice")).collect();
    assert!(!found.is_empty(), "what was done twice goes unnoticed");
}
