//! What an observer keeps.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `place` | participant | `ObservedPlace` |
//! | `saga` | correlation | `ObservedSaga`, while it runs |
//! | `ended` | the time at which it was seen to have ended (8 bytes), correlation | `ObservedSaga` |
//! | `ended-id` | correlation | its key in `ended` |
//! | `gap` | number (8 bytes) | `ObservedGap` |
//!
//! What is made of a participant's events is in one write with the place up to which it was read.

use bytes::Bytes;
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use undoubt_platform::{Batch, Direction, Durability, Family, Store, StoreError, Written};
use undoubt_proto::record::{ObservedEnd, ObservedEvent, ObservedGap, ObservedPlace, ObservedSaga, ObservedStep};
use undoubt_stream::choreography::StepId;
use undoubt_stream::declarations::Heard;
use undoubt_stream::inbox::Watermark;
use undoubt_stream::observer::{End, Fate, Place, Saga, Seen, Standing, Verdict};
use undoubt_vocabulary::{CorrelationId, EventId, Incarnation, ParticipantName, Position, Timestamp, TxId};

/// Its identity, and the count of its starts.
pub const META: Family = Family(undoubt_platform::identity::META_NAME);
const PLACE: Family = Family("place");
const SAGA: Family = Family("saga");
const ENDED: Family = Family("ended");
const ENDED_ID: Family = Family("ended-id");
const GAP: Family = Family("gap");

/// The families of an observer's store.
pub const FAMILIES: &[Family] = &[META, PLACE, SAGA, ENDED, ENDED_ID, GAP];

const STARTS: &[u8] = b"starts";

/// The incarnations of a log that are kept: one for each start of its participant.
const MAX_INCARNATIONS: usize = 10_000;

/// Gaps that are remembered.
pub(crate) const MAX_GAPS_KEPT: u64 = 100;

/// A record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "a record of family {family} cannot be read ({cause}); the observer's folder is damaged: remove it, and it reads all logs anew"
    )]
    Unreadable { family: &'static str, cause: String },
}

fn unreadable(family: Family, cause: impl ToString) -> RowsError {
    RowsError::Unreadable { family: family.0, cause: cause.to_string() }
}

/// A gap: events of a participant that were missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) participant: ParticipantName,
    pub(crate) why: String,
    pub(crate) at: Timestamp,
    pub(crate) is_open: bool,
}

/// All that is found at a start.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) places: BTreeMap<ParticipantName, Place>,
    pub(crate) running: Vec<Saga>,
    pub(crate) ended: usize,
    pub(crate) gaps: Vec<Gap>,
}

/// The rows of an observer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rows(Arc<dyn Store>);

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

impl Rows {
    pub(crate) fn new(store: Arc<dyn Store>) -> Rows {
        Rows(store)
    }

    /// Counts this start, and returns its number.
    pub(crate) async fn begin(&self) -> Result<u32, RowsError> {
        let before = self.0.get(META, STARTS)?;
        let before = before.and_then(|bytes| Some(u32::from_be_bytes(bytes[..].try_into().ok()?))).unwrap_or(0);
        let starts = before.wrapping_add(1);
        let mut batch = Batch::default();
        batch.put(META, STARTS, starts.to_be_bytes());
        self.0.write(batch, Durability::Forced).await?;
        Ok(starts)
    }

    pub(crate) fn read(&self) -> Result<Found, RowsError> {
        let all = |family| self.0.scan(family, b"", None, Direction::Forward, usize::MAX);
        let mut places = BTreeMap::new();
        for (key, value) in all(PLACE)? {
            let (name, place) = read_place(&key, value).map_err(|cause| unreadable(PLACE, cause))?;
            places.insert(name, place);
        }
        let running = all(SAGA)?.into_iter().map(|(_, value)| read_saga(value, SAGA)).collect::<Result<_, _>>()?;
        let gaps = all(GAP)?.into_iter().map(|(_, value)| read_gap(value)).collect::<Result<_, _>>()?;
        Ok(Found { places, running, ended: all(ENDED_ID)?.len(), gaps })
    }

    /// Returns a saga that has ended.
    pub(crate) fn ended(&self, correlation: &CorrelationId) -> Result<Option<Saga>, RowsError> {
        let Some(key) = self.0.get(ENDED_ID, correlation.0.as_bytes())? else { return Ok(None) };
        self.ended_under(&key)
    }

    /// Returns the saga that has ended with this key.
    pub(crate) fn ended_under(&self, key: &[u8]) -> Result<Option<Saga>, RowsError> {
        self.0.get(ENDED, key)?.map(|value| read_saga(value, ENDED)).transpose()
    }

    /// Returns sagas that have ended, the latest first, each with its key. `before`: the key behind which to go on.
    pub(crate) fn latest(&self, before: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Saga)>, RowsError> {
        let found = self.0.scan(ENDED, b"", before, Direction::Backward, limit)?;
        found.into_iter().map(|(key, value)| Ok((key, read_saga(value, ENDED)?))).collect()
    }

    pub(crate) fn write(&self, batch: Batch) -> Written {
        // What a crash takes back is read again, and so is its place.
        self.0.write(batch, Durability::Lazy)
    }

    /// Puts the removal of those that ended first.
    pub(crate) fn drop_oldest(&self, batch: &mut Batch, number: usize) -> Result<(), RowsError> {
        for (key, _) in self.0.scan(ENDED, b"", None, Direction::Forward, number)? {
            batch.delete(ENDED_ID, key.get(8..).unwrap_or_default());
            batch.delete(ENDED, key);
        }
        Ok(())
    }

    pub(crate) fn put_gap(&self, batch: &mut Batch, gap: &Gap) -> Result<(), RowsError> {
        let last = self.0.scan(GAP, b"", None, Direction::Backward, 1)?.into_iter().next();
        let last = last.and_then(|(key, _)| Some(u64::from_be_bytes(key[..].try_into().ok()?))).unwrap_or(0);
        let Gap { participant, why, at, is_open } = gap;
        let record =
            ObservedGap { participant: participant.to_string(), why: why.clone(), at_us: at.0, open: *is_open };
        batch.put(GAP, (last + 1).to_be_bytes(), record.encode_to_vec());
        batch.delete(GAP, (last + 1).saturating_sub(MAX_GAPS_KEPT).to_be_bytes());
        Ok(())
    }

    /// Puts that all gaps are closed: all logs were read since.
    pub(crate) fn close_gaps(&self, batch: &mut Batch) -> Result<(), RowsError> {
        for (key, value) in self.0.scan(GAP, b"", None, Direction::Forward, usize::MAX)? {
            let record = ObservedGap::decode(value).map_err(|cause| unreadable(GAP, cause))?;
            if record.open {
                batch.put(GAP, key, ObservedGap { open: false, ..record }.encode_to_vec());
            }
        }
        Ok(())
    }
}

pub(crate) fn put_place(batch: &mut Batch, name: &ParticipantName, place: &Place) {
    let life = |life: &Incarnation| Bytes::copy_from_slice(&life.0);
    let record = ObservedPlace {
        incarnation: place.watermark.incarnation().as_ref().map(life).unwrap_or_default(),
        position: place.watermark.position().0,
        incarnations: place.incarnations.iter().take(MAX_INCARNATIONS).map(life).collect(),
    };
    batch.put(PLACE, name.as_str(), record.encode_to_vec());
}

pub(crate) fn put_running(batch: &mut Batch, saga: &Saga) {
    batch.put(SAGA, saga.correlation.0.as_bytes(), record(saga).encode_to_vec());
}

pub(crate) fn put_ended(batch: &mut Batch, saga: &Saga) {
    let id = saga.correlation.0.as_bytes();
    let Some(end) = &saga.end else { return };
    let key = [&end.at.0.to_be_bytes()[..], id].concat();
    batch.delete(SAGA, id);
    batch.put(ENDED, &key, record(saga).encode_to_vec());
    batch.put(ENDED_ID, id, key);
}

/// Puts that a saga runs again that had ended.
pub(crate) fn put_back(batch: &mut Batch, ended: &Saga) {
    let id = ended.correlation.0.as_bytes();
    let Some(end) = &ended.end else { return };
    batch.delete(ENDED, [&end.at.0.to_be_bytes()[..], id].concat());
    batch.delete(ENDED_ID, id);
}

/// Returns the key of a saga that has ended.
pub(crate) fn ended_key(saga: &Saga) -> Vec<u8> {
    let at = saga.end.as_ref().map_or(Timestamp(0), |end| end.at);
    [&at.0.to_be_bytes()[..], saga.correlation.0.as_bytes()].concat()
}

fn record(saga: &Saga) -> ObservedSaga {
    let event = |seen: &Seen| ObservedEvent {
        participant: seen.event.from.to_string(),
        id: Some(seen.id.into()),
        topic: seen.event.topic.to_string(),
        r#type: seen.event.kind.to_string(),
        published_at_us: seen.published_at.0,
        caused_by: seen.caused_by.map(Into::into),
    };
    let step = |(step, fate): (&StepId, &Fate)| ObservedStep {
        participant: step.participant.to_string(),
        reaction: step.name.to_string(),
        fate: fate.as_str().to_owned(),
    };
    ObservedSaga {
        events: saga.events.iter().map(event).collect(),
        missed: saga.missed.clone().unwrap_or_default(),
        end: saga.end.as_ref().map(|End { at, verdict }| ObservedEnd {
            at_us: at.0,
            standing: verdict.standing.as_str().to_owned(),
            why: verdict.why.clone().unwrap_or_default(),
            steps: verdict.fates.iter().map(step).collect(),
        }),
        correlation: Bytes::copy_from_slice(saga.correlation.0.as_bytes()),
    }
}

fn read_saga(value: Bytes, family: Family) -> Result<Saga, RowsError> {
    let bad = |cause: String| unreadable(family, cause);
    let ObservedSaga { events, missed, end: ended, correlation } =
        ObservedSaga::decode(value).map_err(|cause| unreadable(family, cause))?;
    let id = |id: undoubt_proto::v1::EventId| EventId::try_from(id).map_err(|cause| bad(cause.to_string()));
    let event = |event: ObservedEvent| {
        Ok::<_, RowsError>(Seen {
            event: Heard {
                from: name(&event.participant, family)?,
                topic: name(&event.topic, family)?,
                kind: name(&event.r#type, family)?,
            },
            id: id(event.id.ok_or_else(|| bad("an event has no id".to_owned()))?)?,
            published_at: Timestamp(event.published_at_us),
            caused_by: event.caused_by.map(id).transpose()?,
        })
    };
    let end = |ObservedEnd { at_us, standing, why, steps }: ObservedEnd| {
        let known = Standing::ALL.into_iter().find(|known| known.as_str() == standing);
        let standing = known.ok_or_else(|| bad(format!("{standing} is no standing")))?;
        let fates = steps.into_iter().map(|ObservedStep { participant, reaction, fate }| {
            let known = Fate::ALL.into_iter().find(|known| known.as_str() == fate);
            let step = StepId { participant: name(&participant, family)?, name: name(&reaction, family)? };
            Ok((step, known.ok_or_else(|| bad(format!("{fate} is no fate")))?))
        });
        let fates = fates.collect::<Result<_, RowsError>>()?;
        let why = (!why.is_empty()).then_some(why);
        Ok::<_, RowsError>(End { at: Timestamp(at_us), verdict: Verdict { standing, fates, awaited: Vec::new(), why } })
    };
    Ok(Saga {
        correlation: CorrelationId(TxId::new(correlation).map_err(|cause| bad(cause.to_string()))?),
        events: events.into_iter().map(event).collect::<Result<_, _>>()?,
        missed: (!missed.is_empty()).then_some(missed),
        end: ended.map(end).transpose()?,
    })
}

fn name<N: std::str::FromStr<Err = undoubt_vocabulary::InvalidId>>(text: &str, family: Family) -> Result<N, RowsError> {
    text.parse().map_err(|cause| unreadable(family, cause))
}

fn read_place(key: &[u8], value: Bytes) -> Result<(ParticipantName, Place), String> {
    let text = |cause: &dyn std::fmt::Display| cause.to_string();
    let name = std::str::from_utf8(key).map_err(|cause| text(&cause))?;
    let name = name.parse().map_err(|cause| text(&cause))?;
    let ObservedPlace { incarnation, position, incarnations } =
        ObservedPlace::decode(value).map_err(|cause| text(&cause))?;
    let life = |bytes: &Bytes| Incarnation::try_from(&bytes[..]).map_err(|cause| text(&cause));
    let watermark = match &incarnation[..] {
        [] => Watermark(None),
        _ => EventId { incarnation: life(&incarnation)?, position: Position(position) }.into(),
    };
    Ok((name, Place { watermark, incarnations: incarnations.iter().map(life).collect::<Result<_, _>>()? }))
}

fn read_gap(value: Bytes) -> Result<Gap, RowsError> {
    let ObservedGap { participant, why, at_us, open } =
        ObservedGap::decode(value).map_err(|cause| unreadable(GAP, cause))?;
    Ok(Gap { participant: name(&participant, GAP)?, why, at: Timestamp(at_us), is_open: open })
}
