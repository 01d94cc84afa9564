use super::*;
use crate::clock::Timestamp;
use crate::store::memory::Memory;
use bytes::Bytes;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::Status;

const BOUNDS: Bounds = Bounds { max_bytes: 1 << 20, retention: Duration::from_secs(1_000) };
const SECOND_US: u64 = 1_000_000;

/// A clock that stands where it is put, in seconds.
#[derive(Debug, Default)]
struct Standing(AtomicU64);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed) * SECOND_US)
    }
}

struct World {
    memory: Memory,
    clock: Arc<Standing>,
    audit: Arc<Audit>,
}

fn open(memory: &Memory, clock: &Arc<Standing>, bounds: Bounds) -> Arc<Audit> {
    let store = Arc::new(memory.open(&[AUDIT]).unwrap());
    Arc::new(Audit::open(store, clock.clone(), bounds).unwrap())
}

impl World {
    fn new(bounds: Bounds) -> World {
        let (memory, clock) = (Memory::default(), Arc::new(Standing(AtomicU64::new(10_000))));
        let audit = open(&memory, &clock, bounds);
        World { memory, clock, audit }
    }

    fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Opens what a crash leaves.
    fn restart(&mut self, bounds: Bounds) {
        self.audit = open(&self.memory, &self.clock, bounds);
    }

    async fn act(&self, call: Call) {
        audited(&Arc::downgrade(&self.audit), call, async { Ok(()) }).await.unwrap();
    }

    fn all(&self) -> Vec<AuditEntry> {
        self.page(AuditQuery::default()).entries
    }

    fn page(&self, query: AuditQuery) -> AuditPage {
        let limit = if query.limit == 0 { 100_000 } else { query.limit };
        self.audit.page(&AuditQuery { limit, max_bytes: usize::MAX, ..query }).unwrap()
    }

    fn stored_bytes(&self) -> usize {
        let contents = self.memory.contents();
        let pairs = contents.scan(AUDIT, &[], None, crate::store::Direction::Forward, usize::MAX).unwrap();
        pairs.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

fn origin(who: &str, address: &str) -> Origin {
    let who = Some(who.into()).filter(|who: &Arc<str>| !who.is_empty());
    Origin { who, through: None, address: Some(address.parse().unwrap()) }
}

fn forget(tx: &'static str) -> Call {
    Call::new(origin("ada", "127.0.0.1"), "forget").tx(&Bytes::from(tx)).note("ada", "it was paid by hand")
}

fn tx(number: usize) -> TxId {
    format!("t{number}").parse().unwrap()
}

fn numbers(entries: &[AuditEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.number).collect()
}

#[tokio::test]
async fn an_entry_says_who_did_what_to_which_transaction_from_where_and_whether_it_was_refused() {
    let world = World::new(BOUNDS);
    world.act(forget("t1")).await;
    let refused: Result<(), Status> = audited(&Arc::downgrade(&world.audit), forget("t2"), async {
        Err(Reason::NothingToForget.refuse("nothing of it is damaged"))
    })
    .await;
    assert_eq!(Reason::of(&refused.unwrap_err()), Some(Reason::NothingToForget));
    let [second, first] = &world.all()[..] else { panic!("{:?}", world.all()) };
    let expected = AuditEntry {
        number: 1,
        at_us: 10_000 * SECOND_US,
        who: "ada".to_owned(),
        address: "127.0.0.1".to_owned(),
        action: "forget".to_owned(),
        txs: vec![Bytes::from("t1")],
        note: "ada: it was paid by hand".to_owned(),
        count: 1,
        ..AuditEntry::default()
    };
    assert_eq!(*first, expected);
    let txs = vec![Bytes::from("t2")];
    assert_eq!(*second, AuditEntry { number: 2, refused: "NOTHING_TO_FORGET".to_owned(), txs, ..expected });
}

#[tokio::test]
async fn entries_survive_a_restart_and_new_ones_take_new_numbers() {
    let mut world = World::new(BOUNDS);
    for _ in 0..3 {
        world.act(forget("t")).await;
    }
    let before = world.all();
    world.restart(BOUNDS);
    world.act(forget("u")).await;
    let after = world.all();
    assert_eq!(numbers(&after), [4, 3, 2, 1]);
    assert_eq!(after[1..], before);
}

#[tokio::test]
async fn pages_join_to_the_whole_and_tell_what_is_asked_for_only() {
    let world = World::new(BOUNDS);
    for number in 0..5 {
        world.act(forget(["a", "b"][number % 2])).await;
        world.audit.note_submission(&origin("orders", "127.0.0.2"), "submit", &tx(number));
        world.audit.note_refusal(&Call::new(origin("", "127.0.0.3"), "drain"), Some(Reason::Unidentified));
        world.audit.flush().await.unwrap();
        world.pass(10);
    }
    let all = world.all();
    assert_eq!(numbers(&all), (1..=15).rev().collect::<Vec<_>>());
    for limit in 1..8 {
        let (mut joined, mut before) = (Vec::new(), None);
        loop {
            let page = world.page(AuditQuery { limit, before, ..AuditQuery::default() });
            assert!(page.entries.len() <= limit);
            joined.extend(page.entries);
            before = page.rest_below;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(joined, all, "pages of {limit}");
    }
    let told = |query: AuditQuery| world.page(query).entries.len();
    assert_eq!(told(AuditQuery { who: Some("orders".to_owned()), ..AuditQuery::default() }), 5);
    assert_eq!(told(AuditQuery { tx: Some("b".parse().unwrap()), ..AuditQuery::default() }), 2);
    assert_eq!(told(AuditQuery { tx: Some(tx(3)), ..AuditQuery::default() }), 1);
    assert_eq!(told(AuditQuery { refused: true, ..AuditQuery::default() }), 5);
    let since_us = 10_020 * SECOND_US;
    assert_eq!(told(AuditQuery { since_us, ..AuditQuery::default() }), 9);
    assert_eq!(told(AuditQuery { until_us: since_us, ..AuditQuery::default() }), 6);
    let small = world.audit.page(&AuditQuery { limit: 100, max_bytes: 1, ..AuditQuery::default() }).unwrap();
    assert_eq!((small.entries.len(), small.rest_below), (1, Some(15)), "one entry is told, however large it is");
}

#[tokio::test]
async fn submissions_of_one_caller_that_are_stored_together_stand_in_one_entry_and_none_is_lost() {
    let world = World::new(BOUNDS);
    for number in 0..200 {
        world.audit.note_submission(&origin(["orders", "billing"][number % 2], "127.0.0.2"), "submit", &tx(number));
    }
    let store = world.memory.clone();
    // As the log of a coordinator takes them along, in small batches.
    let mut batches = 0;
    while let Some(batch) = world.audit.take_submissions(1_500) {
        assert!(batch.payload_bytes() <= 1_500, "{}", batch.payload_bytes());
        batches += 1;
        store.plant(&batch);
    }
    assert!(batches > 1);
    let entries = world.all();
    assert!(entries.len() < 100, "{}", entries.len());
    let mut told: Vec<(String, Bytes)> =
        entries.iter().flat_map(|entry| entry.txs.iter().map(|tx| (entry.who.clone(), tx.clone()))).collect();
    told.sort();
    let mut expected: Vec<(String, Bytes)> =
        (0..200).map(|number| (["orders", "billing"][number % 2].to_owned(), tx(number).to_bytes())).collect();
    expected.sort();
    assert_eq!(told, expected);
    assert!(entries.iter().all(|entry| entry.count == entry.txs.len() as u64));
    // Where there is room for all, they take as few entries as may be.
    for number in 0..100 {
        world.audit.note_submission(&origin("orders", "127.0.0.2"), "submit", &tx(number));
    }
    world.audit.flush().await.unwrap();
    assert_eq!(world.all().len(), entries.len() + 2);
}

#[tokio::test]
async fn the_record_stays_within_its_bytes_and_no_section_pushes_out_another() {
    let mut world = World::new(BOUNDS);
    world.act(forget("first")).await;
    let about = "x".repeat(500);
    for number in 0..4_000 {
        world.audit.note_submission(&origin(&format!("client-{number}"), "127.0.0.2"), "submit", &tx(number));
        let call = Call::new(origin(&format!("stranger-{number}"), "127.0.0.3"), "drain").about(&about);
        world.audit.note_refusal(&call, Some(Reason::LacksRole));
        world.audit.flush().await.unwrap();
    }
    world.audit.flush().await.unwrap();
    // One batch may stand over the bound, until the next.
    let slack = 2_000;
    assert!(world.stored_bytes() <= (1 << 20) * 5 / 8 + slack, "{}", world.stored_bytes());
    let entries = world.all();
    assert!(entries.iter().any(|entry| entry.txs == [Bytes::from("first")]), "an operator's entry was pushed out");
    assert!(entries.iter().any(|entry| entry.txs == [tx(3_999).to_bytes()]), "the latest stay");
    assert!(!entries.iter().any(|entry| entry.who == "stranger-0"), "the oldest go");
    for number in 0..4_000 {
        world.act(forget(["a", "b"][number % 2]).about(&about)).await;
    }
    assert!(world.stored_bytes() <= (1 << 20) + slack, "{}", world.stored_bytes());
    // A lower bound holds after the restart, which does not count anew.
    let smaller = Bounds { max_bytes: 200_000, ..BOUNDS };
    world.restart(smaller);
    world.audit.flush().await.unwrap();
    assert!(world.stored_bytes() <= 200_000 + slack, "{}", world.stored_bytes());
}

#[tokio::test]
async fn an_entry_goes_once_it_is_too_old_and_not_before() {
    let world = World::new(BOUNDS);
    world.act(forget("old")).await;
    world.pass(600);
    world.act(forget("young")).await;
    world.pass(400);
    world.audit.flush().await.unwrap();
    assert_eq!(numbers(&world.all()), [2, 1]);
    world.pass(1);
    world.audit.flush().await.unwrap();
    assert_eq!(numbers(&world.all()), [2]);
}

#[tokio::test]
async fn a_stranger_costs_a_bounded_number_of_entries_and_the_rest_is_counted() {
    let world = World::new(BOUNDS);
    for number in 0..10_000 {
        let call = Call::new(origin(&format!("name-{number}"), "127.0.0.3"), "drain");
        world.audit.note_refusal(&call, Some(Reason::Unidentified));
    }
    world.audit.note_refusal(&Call::new(origin("", "127.0.0.4"), "drain"), Some(Reason::Unidentified));
    world.audit.flush().await.unwrap();
    let entries = world.all();
    assert_eq!(entries.len(), 6, "four of one address, what is left out, and that of another address");
    assert!(entries.iter().any(|entry| entry.address == "127.0.0.4"), "others are told all the same");
    assert_eq!(entries.iter().map(|entry| entry.count).sum::<u64>(), 10_001);
    let left_out = entries.iter().find(|entry| entry.refused == "LEFT_OUT").unwrap();
    assert_eq!(left_out.count, 9_996);
    // From as many addresses as it likes.
    for number in 0..10_000_u32 {
        let address = std::net::Ipv4Addr::from(number).to_string();
        world.audit.note_refusal(&Call::new(origin("", &address), "drain"), Some(Reason::Unidentified));
    }
    world.audit.flush().await.unwrap();
    assert!(world.all().len() <= 6 + 33, "{}", world.all().len());
}

#[tokio::test]
async fn the_same_refusal_again_is_counted_in_one_entry_with_the_transactions_it_was_about() {
    let world = World::new(BOUNDS);
    for number in 0..20 {
        let call = Call::new(origin("orders", "127.0.0.3"), "submit").tx(&tx(number).to_bytes());
        world.audit.note_refusal(&call, Some(Reason::TooManyOpen));
    }
    world.audit.flush().await.unwrap();
    let [entry] = &world.all()[..] else { panic!("{:?}", world.all()) };
    assert_eq!((entry.count, entry.txs.len(), entry.refused.as_str()), (20, 8, "TOO_MANY_OPEN"));
}

#[tokio::test(start_paused = true)]
async fn what_was_noted_is_stored_within_the_period() {
    let world = World::new(BOUNDS);
    world.audit.note_refusal(&Call::new(origin("", "127.0.0.4"), "drain"), Some(Reason::Unidentified));
    let audit = world.audit.clone();
    let keeping = tokio::spawn(async move { audit.keep().await });
    tokio::time::sleep(KEEPING_PERIOD * 2).await;
    assert_eq!(world.all().len(), 1);
    keeping.abort();
}

#[tokio::test]
async fn a_call_is_carried_out_also_where_there_is_no_record() {
    let done: Result<u8, Status> = audited(&Weak::new(), forget("t"), async { Ok(1) }).await;
    assert_eq!(done.unwrap(), 1);
}

#[tokio::test]
async fn numbers_that_were_never_given_are_damage_and_nothing_runs_over() {
    use prost::Message as _;
    let record = |bytes_before| undoubt_proto::record::AuditRecord { entry: Some(AuditEntry::default()), bytes_before };
    for (number, bytes_before) in [(u64::MAX, 0), (1, u64::MAX)] {
        let memory = Memory::default();
        let store = memory.open(&[AUDIT]).unwrap();
        let mut batch = Batch::default();
        batch.put(AUDIT, Section::ALL[0].key(number), record(bytes_before).encode_to_vec());
        store.write(batch, Durability::Forced).await.unwrap();
        let opened = Audit::open(Arc::new(store), Arc::new(Standing::default()), BOUNDS);
        assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{number}, {bytes_before}");
    }
}
