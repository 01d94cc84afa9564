//! The words of operators.

use super::super::reading::Reading;
use super::super::store::{Carried, LocalTransaction};
use super::{About, Came, LOCK_TIMEOUT, Runner, moved, nothing};
use crate::resource::ResourceError;
use bytes::Bytes;
use tokio::sync::oneshot;
use undoubt_stream::barrier::Written;
use undoubt_stream::facts::Facts;
use undoubt_stream::parked::{NotPossible, Operator, Reference, Turn};
use undoubt_stream::reaction::AfterRefusal;
use undoubt_stream::subscription::Source;
use undoubt_vocabulary::{Event, ParticipantName, Position};

/// A word of an operator.
#[derive(Debug)]
pub(crate) enum Word {
    Retry {
        key: Bytes,
    },
    GiveUp {
        key: Bytes,
        turn: Option<u64>,
        by: Operator,
    },
    /// Everything up to a position of a source counts as dealt with; `None`: up to what it does not keep any more.
    Resume {
        from: ParticipantName,
        after: Option<Position>,
    },
    /// Tells a parked event.
    Show {
        key: Bytes,
        turn: u64,
    },
}

/// What an operator is answered.
#[derive(Debug)]
pub(crate) enum Obeyed {
    /// The number of events that are still parked under the key.
    Left(u64),
    /// The position behind which the subscription goes on.
    GoesOn(Position),
    Event(Box<Event>),
}

/// An operator's word, and where its answer goes; `Err` says why it was not obeyed.
pub(crate) type Asked = (Word, oneshot::Sender<Result<Obeyed, String>>);

impl Runner {
    pub(super) async fn obey(&mut self, word: Word) -> Result<Result<Obeyed, String>, ResourceError> {
        let left = |left: usize| Obeyed::Left(u64::try_from(left).unwrap_or(u64::MAX));
        let answer = match word {
            Word::Retry { key } => self.retry(&key).await?.map(left),
            Word::GiveUp { key, turn, by } => self.give_up(&key, turn, by).await?.map(left),
            Word::Resume { from, after } => self.resume(&from, after).await?.map(Obeyed::GoesOn),
            Word::Show { key, turn } => match self.parked_at(&key, Turn(turn)) {
                Ok((reading, reference)) => reading.one(&reference).await.map(|event| Obeyed::Event(Box::new(event))),
                Err(why) => Err(why),
            },
        };
        self.show_parked();
        Ok(answer)
    }

    /// Returns what a parked event is, and from where it can be read.
    fn parked_at(&self, key: &Bytes, turn: Turn) -> Result<(Reading, Reference), String> {
        let parked =
            self.state.parked.keys().find(|(parked, _)| *parked == key).and_then(|(_, events)| events.get(&turn));
        let reference = &parked.ok_or_else(|| self.not_parked(key))?.event;
        let reading = self.sources.get(&reference.from);
        let reading =
            reading.ok_or_else(|| format!("{} is no source of this subscription any more", reference.from))?;
        Ok((reading.clone(), reference.clone()))
    }

    /// Tries the parked events of a key in their order, as far as they succeed.
    async fn retry(&mut self, key: &Bytes) -> Result<Result<usize, String>, ResourceError> {
        if !self.state.parked.is_parked(key) {
            return Ok(Err(self.not_parked(key)));
        }
        while let Some((turn, parked)) = self.state.parked.next_of(key) {
            let reference = parked.event.clone();
            let Some(reading) = self.sources.get(&reference.from).cloned() else {
                return Ok(Err(format!("{} is no source of this subscription any more", reference.from)));
            };
            let event = match reading.one(&reference).await {
                Ok(event) => event,
                Err(why) => return Ok(Err(why)),
            };
            let (from, topic) = (reference.from.clone(), reference.topic.clone());
            let source = Source { from, topic, partition: reference.partition };
            let Some(role) = self.subject.role_of(&reference.from, &event.topic, &event.kind) else {
                return Ok(Err(format!("the event {} is nothing to this reaction any more; give it up", event.id())));
            };
            let applied = match self.state.parked.retried(key, turn) {
                Ok(change) => vec![(self.subscription.clone(), change)],
                Err(impossible) => return Ok(Err(impossible.to_string())),
            };
            let about = About { source: &source, event: &event, advance: None, parked: applied };
            let mut came = self.react(&about, role).await?;
            if let Came::Refused(refusal) = &came {
                let facts = Facts::from(&event);
                if let AfterRefusal::Write(written) =
                    self.subject.refused(role, event.id(), &facts, refusal.clone(), None)
                {
                    let barrier = self.barrier_id(&event);
                    came = self.write(&about, Some(barrier), written).await?;
                }
            }
            if let Came::Refused(refusal) | Came::Impossible(refusal) = came {
                let why = refusal.to_string();
                if let Ok(change) = self.state.parked.refused(key, turn, refusal) {
                    let parked = vec![(self.subscription.clone(), change)];
                    let about = About { source: &source, event: &event, advance: None, parked };
                    self.write(&about, None, nothing()).await?;
                }
                return Ok(Err(format!("the event {} is refused again: {why}", event.id())));
            }
        }
        Ok(Ok(0))
    }

    async fn give_up(
        &mut self,
        key: &Bytes,
        turn: Option<u64>,
        by: Operator,
    ) -> Result<Result<usize, String>, ResourceError> {
        let at = self.surroundings.clock.now();
        let changes = match turn {
            Some(turn) => self.state.parked.skip(key, Turn(turn), by, at).map(|change| vec![change]),
            None => self.state.parked.drop_key(key, &by, at),
        };
        let changes = match changes {
            Ok(changes) => changes,
            Err(impossible) => return Ok(Err(impossible.to_string())),
        };
        let parked: Vec<_> = changes.iter().map(|change| (self.subscription.clone(), change.clone())).collect();
        let transaction = LocalTransaction {
            id: "given-up".parse().expect("it is an id"),
            correlation: "given-up".parse().expect("it is an id"),
            begun_at: at,
            timeout: LOCK_TIMEOUT,
            work: None,
            advances: Vec::new(),
            place: None,
            timer: None,
            barrier: None,
            parked,
            then: Box::new(|_| Ok(Written::default())),
        };
        let store = self.surroundings.store.clone();
        match self.waiting(Box::pin(async move { store.carry_out(transaction).await })).await {
            Ok(Carried::Done { written, .. }) => {
                self.queued(None, written);
                changes.iter().for_each(|change| self.state.parked.note(change));
            }
            Ok(Carried::Refused(refusal)) => return Ok(Err(refusal.to_string())),
            Ok(Carried::Moved { inbox, stored }) => return Err(moved(&inbox, stored)),
            Err(not_now @ (ResourceError::Unavailable { .. } | ResourceError::NoRoom)) => {
                return Ok(Err(format!("nothing was given up, for it cannot be written now: {not_now}; try again")));
            }
            Err(
                error @ (ResourceError::Unclear { .. }
                | ResourceError::Foreign { .. }
                | ResourceError::Stopped { .. }
                | ResourceError::Fenced { .. }),
            ) => return Err(error),
        }
        let left = self.state.parked.keys().find(|(other, _)| *other == key).map_or(0, |(_, events)| events.len());
        Ok(Ok(left))
    }

    fn not_parked(&self, key: &Bytes) -> String {
        NotPossible::NotParked { subscription: self.subscription.clone(), key: key.clone() }.to_string()
    }
}
