//! The memory of coordinators, as the participant's resource keeps it.
//!
//! | key | value |
//! | --- | --- |
//! | `coordinator/`, its id | what was seen of its log (`SeenOfCoordinator`) |
//! | `name/`, a coordinator's name | the id of the one that was known last under it |

use crate::resource::RecoveredLog;
use bytes::Bytes;
use prost::Message as _;
use undoubt_participant_core as core;
use undoubt_participant_core::Seen;
use undoubt_proto::record::SeenOfCoordinator;
use undoubt_proto::v1::LogNumber;
use undoubt_vocabulary::{CoordinatorId, WriteNumber};

const SEEN: &[u8] = b"coordinator/";
const NAME: &[u8] = b"name/";

pub(super) fn seen_key(coordinator: CoordinatorId) -> Bytes {
    [SEEN, &coordinator.0].concat().into()
}

pub(super) fn name_key(name: &str) -> Bytes {
    [NAME, name.as_bytes()].concat().into()
}

pub(super) fn encode(coordinator: CoordinatorId, seen: Seen) -> Bytes {
    let met = seen.met.map(|start| WriteNumber { log: coordinator.0, start, writes: 0 });
    SeenOfCoordinator { met: met.map(Into::into), number: seen.number.map(Into::into) }.encode_to_vec().into()
}

fn decode(value: &Bytes) -> Option<Seen> {
    let SeenOfCoordinator { met, number } = SeenOfCoordinator::decode(value.clone()).ok()?;
    let read = |number: Option<LogNumber>| number.map(WriteNumber::try_from).transpose().ok();
    Some(Seen { met: read(met)?.map(|met| met.start), number: read(number)? })
}

/// Returns what a log says of itself, as the core hears it. What cannot be read is left out: it would only have helped to
/// notice something.
pub(super) fn inputs_of(log: RecoveredLog) -> Vec<core::Recovered> {
    let RecoveredLog { starts, put_back, remembered, losses: _ } = log;
    let mut inputs = vec![core::Recovered::Log { starts, put_back }];
    inputs.extend(remembered.iter().filter_map(|(key, value)| {
        if let Some(id) = key.strip_prefix(SEEN) {
            let id = CoordinatorId::try_from(id).ok()?;
            Some(core::Recovered::Seen { id, seen: decode(value)? })
        } else {
            let name = String::from_utf8(key.strip_prefix(NAME)?.to_vec()).ok()?;
            Some(core::Recovered::Named { name, id: CoordinatorId::try_from(&value[..]).ok()? })
        }
    }));
    inputs
}
