//! The events that work publishes, in tables of the schema.
//!
//! Work inserts them into `undoubt.unnumbered`. One statement moves those that have committed to `undoubt.event`, with their positions. It
//! runs on a session of its own, which has a lease as all that write have: so it has ended before another process begins.

use crate::class::{OTHER_VERSION, code_of};
use crate::reactions;
use crate::record::{clamped, damaged, failure, unclamped};
use crate::session::Session;
use crate::shared::Shared;
use crate::trip::Part;
use crate::value::literal;
use prost::Message as _;
use std::sync::Arc;
use tokio_postgres::Error;
use undoubt_participant::event_log::{MAX_READ_BYTES, MAX_READ_EVENTS, other_version};
use undoubt_participant::resource::ResourceError;
use undoubt_proto::record::StoredEvent;
use undoubt_sql::{EventTable, Numbering, Outgoing, StoredLog, Tail, Unnumbered};
use undoubt_vocabulary::{Incarnation, Position, Refusal};

pub(crate) const PUT_EVENT: &str = "INSERT INTO undoubt.unnumbered (topic, partition, record) VALUES ($1, $2, $3)";

/// The insertion number is drawn once the entity is locked.
pub(crate) const APPEND_EVENT: &str = "WITH appended AS MATERIALIZED (SELECT undoubt.append($1, $4, $5) AS version) INSERT INTO \
     undoubt.unnumbered (topic, partition, version, record) SELECT $1, $2, version, $3 FROM appended";

/// Returns what inserts events.
pub(crate) fn put(session: &Session, events: &[Outgoing]) -> Vec<Part<'static>> {
    let put = |Outgoing { event, is_appended, expect, timer: _ }: &Outgoing| {
        let mut literals =
            vec![literal::text(&event.topic), literal::number(event.partition), literal::bytes(&event.encode_to_vec())];
        if !is_appended {
            return session.joined(PUT_EVENT, &literals);
        }
        literals.push(literal::bytes(&event.key));
        literals.push(expect.map_or_else(|| "NULL".to_owned(), |version| literal::number(clamped(version))));
        session.joined(APPEND_EVENT, &literals)
    };
    let timers = events.iter().filter_map(|outgoing| outgoing.timer.as_ref());
    events.iter().map(put).chain(timers.map(|timer| reactions::put_row(session, timer))).collect()
}

/// Returns the refusal of work that appends to an entity which has another version than it expects, if this error says so.
pub(crate) fn refusal(error: &Error) -> Option<Refusal> {
    if code_of(error) != Some(OTHER_VERSION) {
        return None;
    }
    let mut words = error.as_db_error()?.message().split(' ');
    let has = words.next()?.parse().ok()?;
    let expected = words.next()?.parse().ok()?;
    let topic = words.next()?;
    let key = words.next().unwrap_or_default();
    let digits = |at: usize| u8::from_str_radix(key.get(at..at + 2)?, 16).ok();
    let key: Vec<u8> = (0..key.len()).step_by(2).map_while(digits).collect();
    Some(other_version(topic, &key, expected, has))
}

/// Moves events that have committed to their positions, if the log ends where it is said to, and belongs to this run.
const NUMBER: &str = "WITH fence AS (UPDATE undoubt.log_end SET last = $2 WHERE last = $1 AND (SELECT max(number) FROM undoubt.run) = $3 \
     RETURNING 1), \
     moved AS (DELETE FROM undoubt.unnumbered u USING unnest($4::bigint[], $5::bigint[], $6::bigint[]) AS p (inserted, position, previous), \
     fence WHERE u.inserted = p.inserted RETURNING p.position, p.previous, u.version, u.record), \
     tails AS (INSERT INTO undoubt.lane (topic, partition, position) SELECT t.* FROM unnest($7::text[], $8::integer[], $9::bigint[]) AS t, \
     fence ON CONFLICT (topic, partition) DO UPDATE SET position = excluded.position), \
     begun AS (INSERT INTO undoubt.incarnation (first, id) SELECT b.* FROM unnest($10::bigint[], $11::bytea[]) AS b, fence), \
     topics AS (INSERT INTO undoubt.topic (name, partitions) SELECT d.* FROM unnest($12::text[], $13::integer[]) AS d, fence ON CONFLICT \
     DO NOTHING), \
     published AS (INSERT INTO undoubt.event (position, previous, published_at, version, record) SELECT position, previous, $14, version, \
     record FROM moved RETURNING 1) \
     SELECT undoubt.expect((SELECT count(*) FROM published), cardinality($4::bigint[])) FROM fence";

/// The tables of the log.
pub(crate) struct Table(pub(crate) Arc<Shared>);

impl Table {
    async fn numbering<T, F>(&self, call: impl FnOnce(Arc<Session>) -> F) -> Result<T, ResourceError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.0.sessions.numbering(call).await?.map_err(|error| failure(&error))
    }

    async fn reading<T, F>(&self, call: impl FnOnce(Arc<Session>) -> F) -> Result<T, ResourceError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.0.sessions.reading_events(call).await?.map_err(|error| failure(&error))
    }
}

impl EventTable for Table {
    async fn load(&self) -> Result<StoredLog, ResourceError> {
        let (ends, lanes, incarnations, topics) = self
            .numbering(async |session| {
                // What lands in between is found by the next numbering, which then changes nothing.
                Ok((
                    session.query("SELECT last FROM undoubt.log_end", &[]).await?,
                    session.query("SELECT topic, partition, position FROM undoubt.lane", &[]).await?,
                    session.query("SELECT first, id FROM undoubt.incarnation ORDER BY first", &[]).await?,
                    session.query("SELECT name, partitions FROM undoubt.topic", &[]).await?,
                ))
            })
            .await?;
        let unreadable = |error: Error| failure(&error);
        let end = ends.first().ok_or_else(|| damaged("undoubt.log_end is empty"))?;
        let mut log = StoredLog { last: position(end, 0)?, ..StoredLog::default() };
        for row in &lanes {
            let (topic, partition) = (row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?);
            log.tails.push(Tail { topic, partition: count(partition), position: position(row, 2)? });
        }
        for row in &incarnations {
            let id: &[u8] = row.try_get(1).map_err(unreadable)?;
            let id = Incarnation::try_from(id).map_err(|error| damaged(&error.to_string()))?;
            log.incarnations.push((position(row, 0)?, id));
        }
        for row in &topics {
            let (name, partitions) = (row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?);
            log.topics.push((name, count(partitions)));
        }
        Ok(log)
    }

    async fn unnumbered(&self, limit: usize) -> Result<Vec<Unnumbered>, ResourceError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .numbering(async move |session| {
                let statement = "SELECT inserted, topic, partition, length(record) FROM undoubt.unnumbered ORDER BY inserted LIMIT $1";
                session.query(statement, &[&limit]).await
            })
            .await?;
        let read = |row: &tokio_postgres::Row| {
            let bytes: i32 = row.try_get(3)?;
            Ok(Unnumbered {
                inserted: row.try_get(0)?,
                topic: row.try_get(1)?,
                partition: count(row.try_get(2)?),
                bytes: usize::try_from(bytes).unwrap_or_default(),
            })
        };
        rows.iter().map(read).collect::<Result<_, Error>>().map_err(|error| failure(&error))
    }

    async fn number(&self, numbering: &Numbering) -> Result<bool, ResourceError> {
        let run = self.0.sessions.hold()?.run;
        let Numbering { after, last, events, tails, at, begun } = numbering;
        let inserted: Vec<i64> = events.iter().map(|event| event.inserted).collect();
        let positions: Vec<i64> = events.iter().map(|event| clamped(event.place.position.0)).collect();
        let previous: Vec<i64> = events.iter().map(|event| clamped(event.place.previous.0)).collect();
        let topics: Vec<&str> = tails.iter().map(|tail| tail.topic.as_str()).collect();
        let partitions: Vec<i32> = tails.iter().map(|tail| tail.partition.cast_signed()).collect();
        let ends: Vec<i64> = tails.iter().map(|tail| clamped(tail.position.0)).collect();
        let first: Vec<i64> = begun.iter().map(|begun| clamped(begun.first.0)).collect();
        let incarnation: Vec<&[u8]> = begun.iter().map(|begun| &begun.incarnation.0[..]).collect();
        let declared = begun.iter().flat_map(|begun| &begun.topics);
        let (names, counts): (Vec<&str>, Vec<i32>) =
            declared.map(|(name, partitions)| (name.as_str(), partitions.cast_signed())).unzip();
        let (after, last, at) = (clamped(after.0), clamped(last.0), clamped(at.0));
        let rows = self
            .numbering(async |session| {
                let parameters: &[crate::session::Parameter<'_>] = &[
                    &after,
                    &last,
                    &run,
                    &inserted,
                    &positions,
                    &previous,
                    &topics,
                    &partitions,
                    &ends,
                    &first,
                    &incarnation,
                    &names,
                    &counts,
                    &at,
                ];
                session.query(NUMBER, parameters).await
            })
            .await?;
        Ok(!rows.is_empty())
    }

    async fn read(&self, after: Position, through: Position) -> Result<Vec<(Position, StoredEvent)>, ResourceError> {
        let (after, through) = (clamped(after.0), clamped(through.0));
        let (most, bytes) = (MAX_READ_EVENTS.cast_signed() as i64, MAX_READ_BYTES.cast_signed() as i64);
        let rows = self
            .reading(async move |session| {
                let statement = "SELECT position, previous, published_at, version, record FROM (SELECT e.*, sum(length(record)) OVER (ORDER BY \
                     position) - length(record) AS before FROM (SELECT * FROM undoubt.event WHERE position > $1 AND position <= $2 ORDER BY \
                     position LIMIT $3) e) s WHERE before < $4 ORDER BY position";
                session.query(statement, &[&after, &through, &most, &bytes]).await
            })
            .await?;
        rows.iter().map(event).collect()
    }

    async fn kept(&self) -> Result<(Option<Position>, u64), ResourceError> {
        let rows = self
            .reading(async |session| {
                let statement = "SELECT coalesce((SELECT min(position) FROM undoubt.event), 0), pg_total_relation_size('undoubt.event')";
                session.query(statement, &[]).await
            })
            .await?;
        let row = rows.first().ok_or_else(|| damaged("the size of undoubt.event"))?;
        let first = Some(position(row, 0)?).filter(|first| *first > Position::START);
        Ok((first, position(row, 1)?.0))
    }
}

fn event(row: &tokio_postgres::Row) -> Result<(Position, StoredEvent), ResourceError> {
    let unreadable = |error: Error| failure(&error);
    let (record, version): (&[u8], Option<i64>) =
        (row.try_get(4).map_err(unreadable)?, row.try_get(3).map_err(unreadable)?);
    let stored = StoredEvent::decode(record).map_err(|cause| damaged(&format!("an event: {cause}")))?;
    let published_at: i64 = row.try_get(2).map_err(unreadable)?;
    let placed = StoredEvent {
        previous: position(row, 1)?.0,
        published_at_us: unclamped(published_at),
        version: version.map(unclamped),
        ..stored
    };
    Ok((position(row, 0)?, placed))
}

fn position(row: &tokio_postgres::Row, place: usize) -> Result<Position, ResourceError> {
    let position: i64 = row.try_get(place).map_err(|error| failure(&error))?;
    Ok(Position(unclamped(position)))
}

fn count(stored: i32) -> u32 {
    u32::try_from(stored).unwrap_or_default()
}
