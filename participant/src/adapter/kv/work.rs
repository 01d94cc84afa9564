//! Work and results between their protobuf form (`kv.proto`) and the typed operations.

use bytes::Bytes;
use prost::Message;
use undoubt_participant_core::kv::{self, Operation};
use undoubt_proto::kv as wire;
use undoubt_vocabulary::{Refusal, RefusalCode};

/// Reads work and holds it to its limits.
pub(super) fn decode(bytes: Bytes) -> Result<Vec<Operation>, Refusal> {
    let work = wire::Work::decode(bytes)
        .map_err(|error| invalid(format!("the work is no undoubt.kv.v1.Work ({error}); encode it as kv.proto says")))?;
    let operations: Vec<Operation> = work.operations.into_iter().map(operation).collect::<Result<_, _>>()?;
    kv::check(&operations)?;
    Ok(operations)
}

pub(super) fn encode(results: Vec<Option<Bytes>>) -> Bytes {
    let results = results.into_iter().map(|value| wire::Result { value }).collect();
    wire::Results { results }.encode_to_vec().into()
}

fn operation(wire::Operation { key, kind }: wire::Operation) -> Result<Operation, Refusal> {
    use wire::operation::Kind;
    let missing = || invalid("an operation has no kind that is known here; set one, or update this participant".into());
    Ok(match kind.ok_or_else(missing)? {
        Kind::Get(wire::Get {}) => Operation::Get { key },
        Kind::Put(wire::Put { value }) => Operation::Put { key, value },
        Kind::Delete(wire::Delete {}) => Operation::Delete { key },
        Kind::Add(wire::Add { delta, floor, ceiling }) => Operation::Add { key, delta, floor, ceiling },
        Kind::CompareAndSet(wire::CompareAndSet { expected, value }) => {
            Operation::CompareAndSet { key, expected, value }
        }
    })
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(RefusalCode::InvalidWork, detail)
}
