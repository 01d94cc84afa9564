//! The messages and the records: the `.proto` files, their generated types, and their translation to the vocabulary.
//!
//! * [`v1`]: the conversation between coordinator and participant, and what applications and operators say.
//! * [`work`]: what participants are to do and what they hand back. `undoubt-work` reads and writes these messages itself.
//! * [`record`]: what both sides store.
//! * [`convert`]: the one way between these and [`undoubt_vocabulary`]; whatever comes in is checked there.
//! * [`codec`]: how services read and write messages, and how large one may become when it is read.
//!
//! The comments in the `.proto` files are the contract. `tests/golden` holds the bytes of one value of each record and
//! message: a change of the format shows there.

pub mod codec;
pub mod convert;

mod generated {
    #![allow(clippy::all, clippy::wildcard_enum_match_arm, missing_debug_implementations)]
    include!(concat!(env!("OUT_DIR"), "/generated.rs"));
}

pub use generated::undoubt::record::v1 as record;
pub use generated::undoubt::v1;
pub use generated::undoubt::work::v1 as work;

/// Metadata of the status that refuses a lower epoch: the highest epoch known, in decimal digits (`session.proto`).
pub const KNOWN_EPOCH: &str = "undoubt-known-epoch";

/// Metadata of the status of a participant that was put back: why it is believed to be an older copy (`session.proto`), with
/// what is not ASCII replaced.
pub const PUT_BACK: &str = "undoubt-put-back";

/// Describes the services and their messages, for gRPC reflection.
pub const PUBLIC_FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public_descriptors.bin"));

/// Describes every message and service, those that are stored too.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
