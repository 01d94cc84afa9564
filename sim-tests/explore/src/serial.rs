//! Serializability: what committed transactions have read and written fits some order of them, one after another.
//!
//! Each value names its writer and each key remembers its writers in order, so the order that reads and writes impose
//! can be read off: a writer comes before whoever read or overwrote its value, and a reader before the next writer. A
//! circle is a history that no order explains.

use crate::scenario::{Scenario, participant_name};
use crate::work;
use crate::world::World;
use std::collections::BTreeSet;
use undoubt_vocabulary::{Outcome, TxId};

pub(crate) fn check(world: &World, scenario: &Scenario) -> Result<(), String> {
    let told = world.clients.told.iter().filter(|(_, (outcome, _))| *outcome == Outcome::Committed);
    let committed: Vec<&TxId> = told.map(|(tx, _)| tx).collect();
    // One transaction alone reads nothing but its own writes and what was there before.
    if committed.is_empty() || scenario.requests.len() < 2 {
        return Ok(());
    }
    let mut before = BTreeSet::new();
    for (name, seat) in world.seats.iter().enumerate() {
        for (key, versions) in versions(&seat.host, world) {
            before.extend(versions.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())));
            for reader in &committed {
                let results = &world.clients.told[*reader].1;
                let result = results.iter().find(|(part, _)| *part == participant_name(name).into());
                let read =
                    result.into_iter().flat_map(|(_, result)| work::values(result)).filter(|(read, _)| *read == key);
                for (_, writer) in read {
                    let next = match &writer {
                        None => 0,
                        Some(writer) => versions.iter().position(|version| version == writer).map_or(0, |at| at + 1),
                    };
                    before.extend(writer.map(|writer| (writer, (*reader).clone())));
                    before.extend(versions.get(next).map(|overwriter| ((*reader).clone(), overwriter.clone())));
                }
            }
        }
    }
    before.retain(|(first, second)| first != second);
    match before.iter().find(|(first, second)| reaches(&before, second, first)) {
        Some((first, second)) => Err(format!("isolation: {first} comes before {second}, and {second} before {first}")),
        None => Ok(()),
    }
}

/// Each key's writers in order; a branch that is prepared and decided will be the next.
fn versions(host: &crate::participant::ParticipantHost, world: &World) -> Vec<(bytes::Bytes, Vec<TxId>)> {
    let storage = &host.storage;
    let mut versions: std::collections::BTreeMap<bytes::Bytes, Vec<TxId>> = std::collections::BTreeMap::new();
    for (key, writers) in &storage.history {
        versions.insert(key.clone(), writers.iter().map(|(tx, _)| tx.clone()).collect());
    }
    for (tx, record) in &storage.prepared {
        if record.ended.is_none() && world.coordinator.log.has_commit(tx, record.branch.attempt_number) {
            for key in record.writes.keys() {
                versions.entry(key.clone()).or_default().push(tx.clone());
            }
        }
    }
    versions.into_iter().collect()
}

fn reaches(before: &BTreeSet<(TxId, TxId)>, from: &TxId, to: &TxId) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        open.extend(
            before.iter().filter(|(first, _)| first == at).map(|(_, second)| second).filter(|next| seen.insert(*next)),
        );
    }
    false
}
