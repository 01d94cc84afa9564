use super::*;
use undoubt_coordinator_core::{EndedBranch, EndedRecord, Record};
use undoubt_platform::{Batch, Durability};
use undoubt_vocabulary::{AbortReason, AttemptNumber, BranchOutcome, Outcome, ParticipantName, TransactionPhase};

/// The log and the open transactions of a coordinator.
struct World {
    log: Log,
    open: BTreeMap<u64, TransactionView>,
}

fn id(number: u64) -> TxId {
    format!("t{number:05}").parse().unwrap()
}

fn a() -> ParticipantName {
    "a".parse().unwrap()
}

impl World {
    fn new() -> World {
        World { log: Log::new(crate::log::in_memory()), open: BTreeMap::new() }
    }

    fn open(&mut self, number: u64) {
        let view = TransactionView {
            tx: id(number),
            attempt_number: AttemptNumber(number),
            begun_at: Timestamp(number),
            saga: false,
            phase: TransactionPhase::Preparing,
            outcome: None,
            results: vec![(a().into(), vec![0; 1_000].into())],
            branches: Vec::new(),
            unacknowledged: false,
            paused: false,
            stuck: None,
            unusable_because: None,
            parent: None,
            children: Vec::new(),
        };
        self.open.insert(number, view);
    }

    /// Its record is there, though the engine may not have let go of it yet.
    fn record_end(&self, number: u64, outcome: Outcome, branch: BranchOutcome) {
        let record = Record::Ended(EndedRecord {
            saga: false,
            tx: id(number),
            attempt_number: AttemptNumber(number),
            begun_at: Timestamp(number),
            digest: [0; 32],
            outcome,
            branches: vec![EndedBranch::new(a(), branch)],
            read_only: Vec::new(),
            results: vec![(a().into(), vec![0; 1_000].into())],
        });
        let mut batch = Batch::default();
        Log::put(&mut batch, &record, Timestamp(1_000_000 + number), &[], &mut crate::log::Apart::default());
        drop(self.log.write(batch, Durability::Lazy));
    }

    fn commit(&self, number: u64) {
        self.record_end(number, Outcome::Committed, BranchOutcome::Committed);
    }

    async fn page(&self, request: &v1::ListRequest) -> v1::ListResponse {
        let query = Query::parse(request.clone(), Timestamp(9_000_000)).unwrap();
        let page = Page::begin(query, self.open.values().cloned());
        page.finish(&self.log).await.unwrap()
    }

    /// All pages, and how many there were.
    async fn pages(&self, mut request: v1::ListRequest) -> (Vec<v1::Transaction>, usize) {
        let mut found = Vec::new();
        for pages in 1.. {
            let page = self.page(&request).await;
            found.extend(page.transactions);
            assert_eq!(page.more, !page.cursor.is_empty());
            if !page.more {
                return (found, pages);
            }
            assert_ne!(page.cursor, request.after, "every page gets on");
            request.after = page.cursor;
        }
        unreachable!("every list ends")
    }
}

fn ids(rows: &[v1::Transaction]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8(row.tx.to_vec()).unwrap()).collect()
}

fn names(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(|number| id(*number).to_string()).collect()
}

#[tokio::test]
async fn a_needle_behind_more_than_one_look_may_read_is_found_by_going_on() {
    let world = World::new();
    world.record_end(0, Outcome::Aborted(AbortReason::Cancelled), BranchOutcome::Aborted);
    (1..=21_000).for_each(|number| world.commit(number));
    let needle = v1::ListRequest { state: v1::State::Aborted.into(), ..v1::ListRequest::default() };
    let first = world.page(&needle).await;
    assert!(first.transactions.is_empty() && first.more, "a look that was cut says so");
    let (found, pages) = world.pages(needle).await;
    assert_eq!((ids(&found), pages), (names(&[0]), 2));
}

#[tokio::test]
async fn what_ends_while_one_looks_has_one_row_which_says_that_it_has_ended() {
    let mut world = World::new();
    (1..=3).for_each(|number| world.open(number));
    world.commit(2);
    let page = world.page(&v1::ListRequest::default()).await;
    assert_eq!(ids(&page.transactions), names(&[1, 3, 2]));
    assert_eq!(page.transactions[2].phase, TransactionPhase::Ended.number());
    let pending = v1::ListRequest { state: v1::State::Pending.into(), ..v1::ListRequest::default() };
    assert_eq!(ids(&world.page(&pending).await.transactions), names(&[1, 3]), "it is pending no more");
}

#[tokio::test]
async fn a_list_tells_only_those_at_a_participant_that_are_young_enough_or_whose_ids_begin_so() {
    let mut world = World::new();
    (1..=3).for_each(|number| world.open(number));
    world.commit(11);
    world.commit(4_000);
    let list = async |request: v1::ListRequest| ids(&world.pages(request).await.0);
    let at = |name: &str| v1::ListRequest { participant: name.into(), ..v1::ListRequest::default() };
    assert_eq!(list(at("a")).await, names(&[4_000, 11]), "those that are open have no branches here");
    assert_eq!(list(at("b")).await, names(&[]));
    let prefix =
        |id_prefix: &'static [u8]| v1::ListRequest { id_prefix: id_prefix.into(), ..v1::ListRequest::default() };
    assert_eq!(list(prefix(b"t0000")).await, names(&[1, 2, 3]));
    let young = v1::ListRequest { younger_than_ms: 8_997, ..v1::ListRequest::default() };
    assert_eq!(list(young).await, names(&[4_000]), "begun 4 ms after the beginning of time");
    let stuck = v1::ListRequest { filter: Filter::Stuck.into(), ..v1::ListRequest::default() };
    assert_eq!(list(stuck.clone()).await, names(&[]));
    world.open.values_mut().next().unwrap().unusable_because = Some("it has no steps".into());
    assert_eq!(ids(&world.pages(stuck).await.0).len(), 1);
}

#[tokio::test]
async fn pages_of_any_size_are_together_what_one_would_be_and_in_its_order() {
    let mut world = World::new();
    (1..=5).for_each(|number| world.open(number));
    (11..=15).for_each(|number| world.commit(number));
    for number in [21, 22] {
        world.record_end(number, Outcome::Committed, BranchOutcome::Unknown);
    }
    let all = names(&[1, 2, 3, 4, 5, 21, 22, 15, 14, 13, 12, 11]);
    for limit in 1..=13 {
        let request = |filter: Filter| v1::ListRequest { filter: filter.into(), limit, ..v1::ListRequest::default() };
        assert_eq!(ids(&world.pages(request(Filter::Unspecified)).await.0), all);
        assert_eq!(ids(&world.pages(request(Filter::Open)).await.0), all[..5]);
        assert_eq!(ids(&world.pages(request(Filter::Ended)).await.0), all[5..]);
        assert_eq!(ids(&world.pages(request(Filter::Damaged)).await.0), all[5..7]);
    }
}

#[tokio::test]
async fn whatever_is_there_all_the_while_is_on_one_of_the_pages() {
    let mut world = World::new();
    (1..=9).for_each(|number| world.open(number));
    (11..=19).for_each(|number| world.commit(number));
    let mut request = v1::ListRequest { limit: 2, ..v1::ListRequest::default() };
    let mut found = BTreeSet::new();
    for number in 1..=9 {
        let page = world.page(&request).await;
        found.extend(ids(&page.transactions));
        request.after = page.cursor;
        // One ends, whether it was told of already or not, and another begins.
        world.open.remove(&(10 - number));
        world.commit(10 - number);
        world.open(30 + number);
    }
    found.extend(ids(&world.pages(request).await.0));
    let missing: Vec<_> = names(&[(1..=9).collect::<Vec<_>>(), (11..=19).collect()].concat());
    let missing: Vec<_> = missing.into_iter().filter(|name| !found.contains(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_is_closed_at_its_bytes_and_rows_have_no_results() {
    let mut world = World::new();
    (1..=20_000).for_each(|number| world.open(number));
    world.commit(30_000);
    let request = v1::ListRequest { limit: u32::MAX, ..v1::ListRequest::default() };
    let page = world.page(&request).await;
    assert!(page.more && page.encoded_len() < MAX_PAGE_BYTES + 100_000, "{}", page.encoded_len());
    assert!(page.transactions.len() <= MAX_PAGE_ROWS as usize);
    let (all, _) = world.pages(request).await;
    assert_eq!(all.len(), 20_001);
    assert!(all.iter().all(|row| row.outcome.as_ref().unwrap().results.is_empty()));
}

#[test]
fn a_cursor_is_good_for_the_filter_it_came_with_and_nonsense_for_none() {
    let parse = |filter: Filter, after: Bytes| {
        Query::parse(v1::ListRequest { filter: filter.into(), after, ..v1::ListRequest::default() }, Timestamp(0))
    };
    for (place, good, bad) in [
        (Place::Open(7, "t".into()), Filter::Open, Filter::Ended),
        (Place::Damaged(id(1)), Filter::Damaged, Filter::Open),
        (Place::Ended("12345678t".into()), Filter::Ended, Filter::Damaged),
    ] {
        assert_eq!(parse(good, place.cursor()).unwrap().after, Some(place.clone()));
        assert!(parse(Filter::Unspecified, place.cursor()).is_ok());
        assert!(parse(bad, place.cursor()).unwrap_err().message().contains("cursor"));
    }
    for nonsense in ["x", "\u{1}", "\u{2}"] {
        assert!(parse(Filter::Unspecified, nonsense.into()).is_err(), "{nonsense:?}");
    }
}
