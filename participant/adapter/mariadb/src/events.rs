//! The events that work publishes, in tables of the participant's own.
//!
//! Work inserts them into `undoubt_unnumbered`, behind its calls. A transaction of its own moves those that have committed to
//! `undoubt_event`, with their positions. It runs in a session that has a lease as all that write have: so it has ended before another
//! process begins. Rows are looked up by their whole keys in it: if it were left to the server to find them, it would look at all rows of a
//! small table, and wait for those in doubt.

use crate::class::told;
use crate::local::{Failed, Local, Tried};
use crate::reactions;
use crate::record::{binary, damaged, failure, number};
use crate::session::Session;
use crate::shared::Shared;
use crate::value::bytes;
use bytes::Bytes;
use mysql_async::Row;
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use undoubt_participant::event_log::{MAX_READ_BYTES, MAX_READ_EVENTS, other_version};
use undoubt_participant::resource::ResourceError;
use undoubt_proto::record::StoredEvent;
use undoubt_sql::{EventTable, Numbering, Outgoing, Place, StoredLog, Tail, Unnumbered};
use undoubt_vocabulary::{Incarnation, Position, TxId};

/// The bytes of events in one message, about: a server takes none above its `max_allowed_packet`.
const MAX_SENT_BYTES: usize = 1 << 20;

impl Local<'_> {
    /// Says that it has committed.
    pub(crate) fn published(&self) {
        if self.task.publishes() {
            self.shared.outbox.committed();
        }
    }

    /// Inserts the events of the task. Returns the statements that insert the last of them, each with a semicolon behind it: they go with
    /// what makes all of it last. `results`: what its calls returned.
    pub(crate) async fn publish(
        &self,
        session: &mut Session,
        place: Place<'_>,
        results: &Bytes,
        tx: &TxId,
    ) -> Tried<String> {
        let events = self.task.events(place, results, &self.shared.outbox, tx).map_err(Failed::free)?;
        self.put_events(session, &events).await
    }

    pub(crate) async fn put_events(&self, session: &mut Session, events: &[Outgoing]) -> Tried<String> {
        let (mut sql, mut versions) = (String::new(), BTreeMap::new());
        for Outgoing { event, is_appended, expect, timer } in events {
            if sql.len() > MAX_SENT_BYTES {
                self.record(session, sql.trim_end_matches("; ")).await?;
                sql.clear();
            }
            let mut version = "NULL".to_owned();
            if *is_appended {
                let of_entity = of_entity(event);
                let has = match versions.get(&of_entity) {
                    Some(has) => *has,
                    None => self.lock_entity(session, event, &of_entity).await?,
                };
                if let Some(expected) = expect.filter(|expected| *expected != has) {
                    return Err(Failed::free(other_version(&event.topic, &event.key, expected, has)));
                }
                let next = has + 1;
                sql.push_str(&format!("UPDATE undoubt_entity SET version = {next} WHERE {of_entity}; "));
                version = next.to_string();
                versions.insert(of_entity, next);
            }
            let (topic, part, record) = (bytes(event.topic.as_bytes()), event.partition, bytes(&event.encode_to_vec()));
            sql.push_str(&format!(
                "INSERT INTO undoubt_unnumbered (topic, part, version, record) VALUES ({topic}, {part}, {version}, {record}); "
            ));
            if let Some(timer) = timer {
                sql.push_str(&format!("{}; ", reactions::put_row(timer)));
            }
        }
        Ok(sql)
    }

    /// Locks an entity until the end of the transaction, and returns its version: 0 if nothing was ever appended to it.
    async fn lock_entity(&self, session: &mut Session, event: &StoredEvent, of_entity: &str) -> Tried<u64> {
        let (topic, name) = (bytes(event.topic.as_bytes()), bytes(&event.key));
        let sql = format!(
            "INSERT INTO undoubt_entity (topic, name, version) VALUES ({topic}, {name}, 0) ON DUPLICATE KEY UPDATE version = version; \
             SELECT version FROM undoubt_entity WHERE {of_entity} FOR UPDATE"
        );
        let answer = self.trip(session, &sql, &|| "the version of an entity".to_owned()).await?;
        let version = answer.as_ref().and_then(|answer| answer.rows.first()).map(|row| number(row, 0));
        version.unwrap_or(Ok(0)).map_err(|error| Failed::unclear(error.to_string()))
    }
}

fn of_entity(event: &StoredEvent) -> String {
    format!("topic = {} AND name = {}", bytes(event.topic.as_bytes()), bytes(&event.key))
}

/// The tables of the log.
pub(crate) struct Table(pub(crate) Arc<Shared>);

impl Table {
    async fn rows(&self, session: &mut Session, sql: &str) -> Result<Vec<Row>, ResourceError> {
        session.rows(sql).await.map_err(|error| failure(&error))
    }

    /// Runs statements of a transaction that is undone if they fail, and returns the rows that each has found.
    async fn found(&self, session: &mut Session, sql: &str) -> Result<Vec<u64>, ResourceError> {
        let asked = tokio::time::timeout(crate::session::ANSWER_PATIENCE, session.ask(sql, usize::MAX)).await;
        match asked {
            Ok(Ok(answers)) => Ok(answers.iter().map(|answer| answer.affected).collect()),
            Ok(Err(error)) => {
                let failed = failure(&error);
                self.undo(session).await?;
                Err(failed)
            }
            // The session is broken, and its transaction ends with it.
            Err(_) => Err(ResourceError::Unclear { cause: "the database did not answer in time".to_owned() }),
        }
    }

    async fn undo(&self, session: &mut Session) -> Result<(), ResourceError> {
        match session.is_broken() {
            true => Ok(()),
            false => session.run("ROLLBACK").await.map(drop).map_err(|error| failure(&error)),
        }
    }
}

impl EventTable for Table {
    async fn load(&self) -> Result<StoredLog, ResourceError> {
        let mut session = self.0.sessions.positions().await?;
        // What lands in between is found by the next numbering, which then changes nothing.
        let ends = self.rows(&mut session, "SELECT ends_at FROM undoubt_log_end").await?;
        let end = ends.first().ok_or_else(|| damaged("undoubt_log_end is empty"))?;
        let mut log = StoredLog { last: position(end, 0)?, ..StoredLog::default() };
        for row in &self.rows(&mut session, "SELECT topic, part, position FROM undoubt_lane").await? {
            log.tails.push(Tail { topic: text(row, 0)?, partition: count(row, 1)?, position: position(row, 2)? });
        }
        for row in &self.rows(&mut session, "SELECT begins_at, id FROM undoubt_incarnation ORDER BY begins_at").await? {
            let id = Incarnation::try_from(&binary(row, 1)?[..]).map_err(|error| damaged(&error.to_string()))?;
            log.incarnations.push((position(row, 0)?, id));
        }
        for row in &self.rows(&mut session, "SELECT name, parts FROM undoubt_topic").await? {
            log.topics.push((text(row, 0)?, count(row, 1)?));
        }
        Ok(log)
    }

    async fn unnumbered(&self, limit: usize) -> Result<Vec<Unnumbered>, ResourceError> {
        let mut session = self.0.sessions.positions().await?;
        let sql = format!(
            "SELECT inserted, topic, part, OCTET_LENGTH(record) FROM undoubt_unnumbered ORDER BY inserted LIMIT {limit}"
        );
        let read = |row: &Row| {
            Ok(Unnumbered {
                inserted: number(row, 0)?.cast_signed(),
                topic: text(row, 1)?,
                partition: count(row, 2)?,
                bytes: usize::try_from(number(row, 3)?).unwrap_or(usize::MAX),
            })
        };
        self.rows(&mut session, &sql).await?.iter().map(read).collect()
    }

    async fn number(&self, numbering: &Numbering) -> Result<bool, ResourceError> {
        let run = self.0.sessions.hold()?.run;
        let mut session = self.0.sessions.positions().await?;
        let Numbering { after, last, events, tails, at, begun } = numbering;
        let fence = format!(
            "START TRANSACTION READ WRITE; UPDATE undoubt_log_end SET ends_at = {last} WHERE ends_at = {after} AND {run} = (SELECT \
             MAX(number) FROM undoubt_run)"
        );
        if self.found(&mut session, &fence).await?.last() != Some(&1) {
            self.undo(&mut session).await?;
            return Ok(false);
        }
        let rows: Vec<String> = events
            .iter()
            .map(|event| format!("[{},{},{}]", event.inserted, event.place.position, event.place.previous))
            .collect();
        let placed = format!(
            "JSON_TABLE('[{}]', '$[*]' COLUMNS (inserted BIGINT UNSIGNED PATH '$[0]', position BIGINT UNSIGNED PATH '$[1]', previous \
             BIGINT UNSIGNED PATH '$[2]')) AS p STRAIGHT_JOIN undoubt_unnumbered u FORCE INDEX (PRIMARY) ON u.inserted = p.inserted",
            rows.join(",")
        );
        let mut moving = vec![
            format!(
                "INSERT INTO undoubt_event (position, previous, published_at, version, record) SELECT p.position, p.previous, {}, \
                 u.version, u.record FROM {placed}",
                at.0
            ),
            format!("DELETE u FROM {placed}"),
        ];
        let ends = tails.iter().map(|Tail { topic, partition, position }| {
            format!("({}, {partition}, {position})", bytes(topic.as_bytes()))
        });
        let ends: Vec<String> = ends.collect();
        moving.push(format!(
            "INSERT INTO undoubt_lane (topic, part, position) VALUES {} ON DUPLICATE KEY UPDATE position = VALUES(position)",
            ends.join(", ")
        ));
        if let Some(begun) = begun {
            let id = bytes(&begun.incarnation.0);
            moving.push(format!("INSERT INTO undoubt_incarnation (begins_at, id) VALUES ({}, {id})", begun.first));
            let topics = begun.topics.iter().map(|(name, parts)| format!("({}, {parts})", bytes(name.as_bytes())));
            let topics: Vec<String> = topics.collect();
            if !topics.is_empty() {
                moving.push(format!("INSERT IGNORE INTO undoubt_topic (name, parts) VALUES {}", topics.join(", ")));
            }
        }
        let found = self.found(&mut session, &moving.join("; ")).await?;
        let count = events.len() as u64;
        if found.get(..2) != Some(&[count, count][..]) {
            self.undo(&mut session).await?;
            let cause =
                format!("{found:?} of {count} events that have committed were found again in undoubt_unnumbered");
            return Err(ResourceError::Stopped { cause });
        }
        let ended = session.run("COMMIT").await;
        ended.map(|_| true).map_err(|error| ResourceError::Unclear { cause: told(&error) })
    }

    async fn read(&self, after: Position, through: Position) -> Result<Vec<(Position, StoredEvent)>, ResourceError> {
        let mut session = self.0.sessions.events().await?;
        let sql = format!(
            "SELECT position, previous, published_at, COALESCE(version, 0), record, version IS NULL FROM (SELECT e.*, \
             SUM(OCTET_LENGTH(record)) OVER (ORDER BY position) - OCTET_LENGTH(record) AS size_before FROM (SELECT * FROM undoubt_event WHERE \
             position > {after} AND position <= {through} ORDER BY position LIMIT {MAX_READ_EVENTS}) e) s WHERE size_before < \
             {MAX_READ_BYTES} ORDER BY position"
        );
        self.rows(&mut session, &sql).await?.iter().map(event).collect()
    }

    async fn kept(&self) -> Result<(Option<Position>, u64), ResourceError> {
        let mut session = self.0.sessions.events().await?;
        let sql = "SELECT COALESCE((SELECT MIN(position) FROM undoubt_event), 0), COALESCE((SELECT DATA_LENGTH FROM \
             information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'undoubt_event'), 0)";
        let rows = self.rows(&mut session, sql).await?;
        let row = rows.first().ok_or_else(|| damaged("the size of undoubt_event"))?;
        let first = Some(position(row, 0)?).filter(|first| *first > Position::START);
        Ok((first, number(row, 1)?))
    }
}

fn event(row: &Row) -> Result<(Position, StoredEvent), ResourceError> {
    let stored = StoredEvent::decode(&binary(row, 4)?[..]).map_err(|cause| damaged(&format!("an event: {cause}")))?;
    let version = (number(row, 5)? == 0).then(|| number(row, 3)).transpose()?;
    let placed = StoredEvent { previous: number(row, 1)?, published_at_us: number(row, 2)?, version, ..stored };
    Ok((position(row, 0)?, placed))
}

fn position(row: &Row, place: usize) -> Result<Position, ResourceError> {
    number(row, place).map(Position)
}

fn count(row: &Row, place: usize) -> Result<u32, ResourceError> {
    u32::try_from(number(row, place)?).map_err(|_| damaged("a number of a partition is too high"))
}

fn text(row: &Row, place: usize) -> Result<String, ResourceError> {
    String::from_utf8(binary(row, place)?).map_err(|_| damaged("a name is no text"))
}
