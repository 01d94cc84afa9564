//! A run as text, for terminals.

use super::words::{event, plain, seconds, tx_of};
use crate::run::Run;
use std::fmt;

/// The trace, one line per event: time in seconds, host, what happened. With `tx`, what is about other transactions is
/// left out; what is about none, like faults and crashes, always stays.
pub fn tell(run: &Run, tx: Option<&str>, out: &mut impl fmt::Write) -> fmt::Result {
    let is_shown = |of: Option<&str>| tx.is_none() || of.is_none() || of == tx;
    let entries = || run.trace.iter().filter(|entry| is_shown(tx_of(&entry.event)));
    let host = |host: Option<crate::plan::Host>| host.map(|host| host.to_string()).unwrap_or_default();
    let times = entries().map(|entry| seconds(entry.at_us).len()).max().unwrap_or_default();
    let hosts = entries().map(|entry| host(entry.host).len()).max().unwrap_or_default();
    for entry in entries() {
        let what = plain(&event(&entry.event));
        writeln!(out, "{:>times$}  {:hosts$}  {what}", seconds(entry.at_us), host(entry.host))?;
    }
    Ok(())
}
