//! The arguments of `undoubt audit`.

use super::since;
use clap::Args;
use undoubt_client::Cursor;
use undoubt_platform::{Clock as _, SystemClock};
use undoubt_vocabulary::{Timestamp, TxId};

/// Shows who did what to which transaction, from where, and what was refused, as a server has recorded it: the latest first.
///
/// Recorded are submissions, cancellations, whatever operators do, and what was refused to those who may not do it. Who it was is
/// the identity that the server knows; what was written with --who stands in the note.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only what was done to this transaction.
    #[arg(long, value_name = "TX")]
    pub tx: Option<TxId>,
    /// Only what this identity did, or others through it.
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// Only since: so long ago, like 10m, or from a time on, like 2030-01-31T12:00:00Z.
    #[arg(long, value_name = "DURATION|TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only until: so long ago, or before a time.
    #[arg(long, value_name = "DURATION|TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
    /// Only what was refused.
    #[arg(long)]
    pub refused: bool,
    /// The record of this participant, instead of the coordinator's: its name, or its address.
    #[arg(long, value_name = "NAME|URL")]
    pub participant: Option<String>,
    /// At most this many entries.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Goes on where an earlier answer, with the same options, ended: it tells a cursor if there is more.
    #[arg(long, alias = "cursor", value_name = "CURSOR")]
    pub after: Option<Cursor>,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let ago = u64::try_from(since(text)?.as_micros()).unwrap_or(u64::MAX);
    Ok(Timestamp(SystemClock.now().0.saturating_sub(ago)))
}
