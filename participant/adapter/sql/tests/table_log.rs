//! The log in tables, over tables that lose answers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard};
use undoubt_participant::event_log::{After, EventSource as _, Topics, unplaced};
use undoubt_participant::resource::ResourceError;
use undoubt_platform::Clock;
use undoubt_proto::record::StoredEvent;
use undoubt_sql::{EventTable, MAX_NUMBERED_BYTES, Numbered, Numbering, Outbox, StoredLog, TableLog, Unnumbered};
use undoubt_vocabulary::{Event, Incarnation, NewEvent, Position, Timestamp, Topic, TxId};

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(7)
    }
}

/// Tables in memory, which may lose the answer to a numbering, or carry it out late.
#[derive(Clone, Default)]
struct Tables(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    unnumbered: Vec<(i64, StoredEvent)>,
    events: Vec<(Position, StoredEvent)>,
    log: StoredLog,
    trouble: Option<Trouble>,
    /// What is carried out once another numbering has been asked for.
    late: Option<Numbering>,
}

enum Trouble {
    AnswerIsLost,
    CarriedOutLate,
}

impl Tables {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    fn insert(&self, number: i64, key: &str) {
        let topic = topics().as_slice()[0].clone();
        let event = NewEvent {
            topic: topic.name.clone(),
            key: key.to_owned().into(),
            kind: "placed".parse().unwrap(),
            schema: "".into(),
            content_type: "".into(),
            data: Bytes::new(),
            expect: None,
            correlation: None,
            causation: None,
        };
        let tx: TxId = "t".parse().unwrap();
        self.contents().unnumbered.push((number, unplaced(event, &topic, None, &tx)));
    }
}

impl Contents {
    fn number(&mut self, numbering: &Numbering) -> bool {
        if self.log.last != numbering.after {
            return false;
        }
        for Numbered { inserted, place } in &numbering.events {
            let at = self.unnumbered.iter().position(|(number, _)| number == inserted).unwrap();
            let (_, event) = self.unnumbered.remove(at);
            self.events.push((place.position, StoredEvent { previous: place.previous.0, ..event }));
        }
        self.log.last = numbering.last;
        self.log.tails.retain(|tail| !numbering.tails.iter().any(|other| other.partition == tail.partition));
        self.log.tails.extend(numbering.tails.iter().cloned());
        let begun = numbering.begun.iter();
        self.log.incarnations.extend(begun.map(|begun| (begun.first, begun.incarnation)));
        true
    }
}

impl EventTable for Tables {
    async fn load(&self) -> Result<StoredLog, ResourceError> {
        Ok(self.contents().log.clone())
    }

    async fn unnumbered(&self, limit: usize) -> Result<Vec<Unnumbered>, ResourceError> {
        let found = |(inserted, event): &(i64, StoredEvent)| Unnumbered {
            inserted: *inserted,
            topic: event.topic.clone(),
            partition: event.partition,
            bytes: MAX_NUMBERED_BYTES / 3 + 1,
        };
        let mut found: Vec<_> = self.contents().unnumbered.iter().map(found).collect();
        found.sort_by_key(|event| event.inserted);
        found.truncate(limit);
        Ok(found)
    }

    async fn number(&self, numbering: &Numbering) -> Result<bool, ResourceError> {
        let mut contents = self.contents();
        if let Some(late) = contents.late.take() {
            assert!(contents.number(&late), "nothing was in its way");
        }
        let unclear = || Err(ResourceError::Unclear { cause: "no answer came".to_owned() });
        match contents.trouble.take() {
            Some(Trouble::AnswerIsLost) => {
                contents.number(numbering);
                unclear()
            }
            Some(Trouble::CarriedOutLate) => {
                contents.late = Some(numbering.clone());
                unclear()
            }
            None => Ok(contents.number(numbering)),
        }
    }

    async fn read(&self, after: Position, through: Position) -> Result<Vec<(Position, StoredEvent)>, ResourceError> {
        let contents = self.contents();
        let wanted = |(position, _): &&(Position, StoredEvent)| *position > after && *position <= through;
        Ok(contents.events.iter().filter(wanted).cloned().collect())
    }

    async fn kept(&self) -> Result<(Option<Position>, u64), ResourceError> {
        Ok((self.contents().events.first().map(|(position, _)| *position), 0))
    }
}

fn topics() -> Topics {
    Topics::of(vec![Topic { name: "orders".parse().unwrap(), partitions: 2, sourced: false }]).unwrap()
}

async fn open(tables: &Tables, incarnation: u8) -> TableLog<Tables> {
    let outbox = Arc::new(Outbox::new(topics(), Arc::new(Still)));
    let log = TableLog::new(tables.clone(), outbox, Incarnation([incarnation; 16]));
    log.open().await.unwrap();
    log
}

async fn number_all(log: &TableLog<Tables>) {
    while log.number_some().await.unwrap() {}
}

async fn keys(log: &TableLog<Tables>) -> Vec<(u64, String)> {
    let read = log.read(After::default()).await.unwrap();
    let key = |event: &Event| String::from_utf8(event.key.to_vec()).unwrap();
    read.events.iter().map(|event| (event.position.0, key(event))).collect()
}

fn numbered(keys: &[&str]) -> Vec<(u64, String)> {
    keys.iter().zip(1..).map(|(key, position)| (position, (*key).to_owned())).collect()
}

#[tokio::test]
async fn events_get_positions_in_the_order_of_their_insertion_and_bounded_at_a_time() {
    let tables = Tables::default();
    let log = open(&tables, 1).await;
    for (number, key) in [(9, "d"), (2, "a"), (4, "b"), (7, "c")] {
        tables.insert(number, key);
    }
    assert!(log.number_some().await.unwrap(), "there are more than fit at once");
    assert_eq!(*log.stable().borrow(), Position(3));
    number_all(&log).await;
    // Inserted earlier, and committed later.
    tables.insert(3, "late");
    number_all(&log).await;
    assert_eq!(keys(&log).await, numbered(&["a", "b", "c", "d", "late"]));
}

#[tokio::test]
async fn a_numbering_without_an_answer_is_done_once_whether_it_was_carried_out_or_comes_late() {
    for trouble in [Trouble::AnswerIsLost, Trouble::CarriedOutLate] {
        let tables = Tables::default();
        let log = open(&tables, 1).await;
        tables.insert(1, "a");
        tables.contents().trouble = Some(trouble);
        assert!(matches!(log.number_some().await, Err(ResourceError::Unclear { .. })));
        tables.insert(2, "b");
        number_all(&log).await;
        assert_eq!(keys(&log).await, numbered(&["a", "b"]));
        assert_eq!(tables.contents().log.incarnations.len(), 1);
    }
}

#[tokio::test]
async fn a_restart_goes_on_with_another_incarnation_and_the_tails_of_partitions() {
    let tables = Tables::default();
    for start in 1..=2 {
        let log = open(&tables, start).await;
        tables.insert(1, "a");
        number_all(&log).await;
    }
    let read = open(&tables, 3).await.read(After::default()).await.unwrap();
    let shown: Vec<_> = read.events.iter().map(|event| (event.previous.0, event.incarnation.0[0])).collect();
    assert_eq!(shown, [(0, 1), (1, 2)]);
}

#[tokio::test]
async fn a_log_that_is_shorter_than_was_told_ends_its_process() {
    let tables = Tables::default();
    let log = open(&tables, 1).await;
    tables.insert(1, "a");
    number_all(&log).await;
    tables.contents().log.last = Position::START;
    tables.insert(2, "b");
    assert!(log.number_some().await.unwrap(), "nothing was numbered");
    let ended = log.number_some().await;
    assert!(matches!(&ended, Err(ResourceError::Foreign { cause }) if cause.contains("put back")), "{ended:?}");
}
