//! What participants' disks show of those who react to events.

use super::DATA;
use super::events::read_log;
use crate::disk::Contents;
use crate::plan::{Host, Shape, Trips};
use crate::run::{Account, Barrier, EventName, Inbox, Parked, Participant};
use crate::world::shared_state::{Shared, now_us};
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_participant::subscription::{GIVEN_UP, INBOX, PARKED, REACTION, TIMER};
use undoubt_proto::record::stored_reaction::State;
use undoubt_proto::record::{StoredGivenUp, StoredParkedEvent, StoredReaction, StoredWatermark};

/// Stands before the watermark of a partition.
const WATERMARK: &[u8] = b"watermark/";

/// Notes what a participant's store shows of its subscriptions now.
pub(in crate::world) fn note(shared: &Shared, host: Host) {
    let Host::Participant(participant) = host else { return };
    if shared.plan.shape.trips.is_some() || shared.plan.shape.reacts() {
        note_log(shared, host);
        let account = account(participant, &shared.disk(host).cached(), now_us());
        shared.finals().accounts.push(account);
    }
}

/// Notes the events of a participant's log: a disk may lose them, which others may have heard of.
pub(in crate::world) fn note_log(shared: &Shared, host: Host) {
    let Host::Participant(participant) = host else { return };
    if shared.plan.shape.reacts() && shared.plan.shape.publishes(participant) {
        let log = read_log(&shared.disk(host).cached());
        shared.finals().known_events.extend(log.into_iter().map(|event| ((participant, event.id()), event)));
    }
}

/// Returns what a disk shows. What cannot be read there is left out, and so missing.
pub(in crate::world) fn account(participant: Participant, contents: &Contents, at_us: u64) -> Account {
    let by_reactions = [Trips::TOPIC, Shape::ECHOES];
    let published = read_log(contents).into_iter().filter(|event| by_reactions.contains(&event.topic.as_str()));
    let mut account = Account {
        participant,
        at_us,
        watermarks: contents.pairs(INBOX).filter_map(|(key, value)| watermark(key, value)).collect(),
        parked: contents.pairs(PARKED).filter_map(|(key, value)| parked(key, value)).collect(),
        given_up: contents.pairs(GIVEN_UP).filter_map(|(key, value)| given_up(key, value)).collect(),
        barriers: contents.pairs(REACTION).filter_map(|(key, value)| barrier(key, value)).collect(),
        timers: contents.pairs(TIMER).filter_map(|(key, _)| timer(key)).collect::<BTreeSet<_>>(),
        published: published.collect(),
        ..Account::default()
    };
    for (key, value) in contents.pairs(DATA) {
        let (key, value) = (text(key), text(value));
        let number: i64 = value.parse().unwrap_or(i64::MAX);
        if let Some(trip) = key.strip_prefix("trip/") {
            account.trips.insert(trip.to_owned(), value);
        } else if let Some(of) = key.strip_prefix("seats/") {
            account.seats.insert(of.to_owned(), -number);
        } else if let Some(of) = key.strip_prefix("viewed/") {
            account.viewed.insert(of.to_owned(), number);
        }
    }
    account
}

/// Returns true if nothing is left to do for those who react: all that they hear was dealt with, no time limit is under way, and no trip
/// is half done.
pub(in crate::world) fn is_settled(shared: &Shared) -> bool {
    let shape = &shared.plan.shape;
    let publishing: Vec<u8> = (1..=shape.participants).filter(|at| shape.publishes(*at)).collect();
    let contents = |at: &u8| (*at, shared.disk(Host::Participant(*at)).cached());
    let contents: BTreeMap<u8, Contents> = publishing.iter().map(contents).collect();
    let logs: BTreeMap<u8, _> = contents.iter().map(|(at, contents)| (*at, read_log(contents))).collect();
    contents.iter().all(|(at, contents)| {
        let account = account(*at, contents, 0);
        let settled = |inbox: &Inbox, heard: EventName| {
            let Some(reached) = account.watermarks.get(inbox) else { return false };
            let is_lost = || !logs.get(&inbox.source).is_some_and(|log| log.iter().any(|event| event.id() == *reached));
            // Whoever has read what its source has lost reads nothing more.
            reached.1 >= heard.1 || is_lost()
        };
        let all_heard = shape.heard(*at).into_iter().all(|(subscription, source, topic, kind)| {
            let own = logs.get(&source).into_iter().flatten();
            let mut heard = own.filter(|event| event.topic == topic && event.kind == kind);
            heard.all(|event| {
                let inbox = Inbox {
                    subscription: subscription.clone(),
                    source,
                    topic: topic.clone(),
                    partition: event.partition,
                };
                settled(&inbox, event.id())
            })
        });
        all_heard && account.parked.is_empty() && account.timers.is_empty()
    })
}

fn watermark(key: &Bytes, value: &Bytes) -> Option<(Inbox, EventName)> {
    let (names, partition) = key.strip_prefix(WATERMARK)?.split_last_chunk::<2>()?;
    let names = std::str::from_utf8(names).ok()?;
    let mut names = names.split('\0');
    let subscription = names.next()?.to_owned();
    let (source, topic) = (number_of(names.next()?)?, names.next()?.to_owned());
    let StoredWatermark { incarnation, position, floor: _ } = StoredWatermark::decode(value.clone()).ok()?;
    let event = (incarnation[..].try_into().ok()?, position);
    Some((Inbox { subscription, source, topic, partition: u16::from_be_bytes(*partition).into() }, event))
}

fn parked(key: &Bytes, value: &Bytes) -> Option<Parked> {
    let (subscription, _) = key.split_last_chunk::<8>()?;
    parked_event(subscription, StoredParkedEvent::decode(value.clone()).ok()?)
}

fn given_up(key: &Bytes, value: &Bytes) -> Option<Parked> {
    let (subscription, _) = key.split_last_chunk::<32>()?;
    parked_event(subscription, StoredGivenUp::decode(value.clone()).ok()?.parked?)
}

fn parked_event(subscription: &[u8], record: StoredParkedEvent) -> Option<Parked> {
    Some(Parked {
        subscription: text(subscription).trim_end_matches('\0').to_owned(),
        source: number_of(&record.source)?,
        key: text(&record.key),
        event: (record.incarnation[..].try_into().ok()?, record.position),
    })
}

fn barrier(key: &Bytes, value: &Bytes) -> Option<((String, String), Barrier)> {
    let key = text(key);
    let (reaction, correlation) = key.split_once('\0')?;
    let state = match StoredReaction::decode(value.clone()).ok()?.state() {
        State::Acted => Barrier::Acted,
        State::Compensated => Barrier::Undone,
        State::Empty => Barrier::Never,
        State::Unspecified => return None,
    };
    Some(((reaction.to_owned(), correlation.to_owned()), state))
}

/// Returns the trip of a time limit.
fn timer(key: &Bytes) -> Option<String> {
    let zero = key.iter().position(|byte| *byte == 0)?;
    Some(text(key.get(zero + 9..)?))
}

fn number_of(participant: &str) -> Option<Participant> {
    match participant.parse().ok()? {
        Host::Participant(number) => Some(number),
        Host::Coordinator
        | Host::Standby
        | Host::Database(_)
        | Host::Service(_)
        | Host::Client(_)
        | Host::Reader(_) => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
