//! The limits per identity: how many transactions one may begin in a second, and how many it may hold open.
//!
//! Pure: the time comes in. Where nothing is limited nothing is counted, and else one look-up finds all that is needed. Only
//! transactions count that were begun since: those that a start recovers, and those from before limits were set, count to nobody.

mod bucket;

use bucket::Bucket;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use undoubt_platform::access::{Limits, LimitsByName, LimitsConfig, Rate};
use undoubt_vocabulary::{DigestMap, TxId};

/// The name of an identity. None: a caller without; all of them count as one.
pub(crate) type Who = Option<Arc<str>>;

/// Identities that are told apart at a time. A gateway may ask on behalf of any name: those beyond it count as one.
const MAX_TOLD_APART: usize = 65_536;

/// The time after which a caller comes back that holds as much as it may: when one of its transactions ends is not known.
const COME_BACK_TO_SHARE_AFTER: Duration = Duration::from_millis(100);

/// The limits of all identities, and what each of them has taken.
#[derive(Debug)]
pub(crate) struct Holders {
    server: LimitsConfig,
    by_name: LimitsByName,
    max_open_transactions: usize,
    /// True if nobody is limited.
    is_off: bool,
    all: BTreeMap<Who, Holder>,
    /// Those beyond [`MAX_TOLD_APART`].
    others: Who,
    open: DigestMap<TxId, Who>,
}

#[derive(Debug)]
struct Holder {
    limits: Limits,
    bucket: Bucket,
    open: usize,
}

/// The limit that somebody has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) who: Who,
    pub(crate) limit: Limit,
    /// The time after which it may come back.
    pub(crate) after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Rate(Rate),
    /// Its share of the open transactions.
    Share {
        open: usize,
        percent: u64,
    },
}

impl Limit {
    /// Returns the name of the setting.
    pub(crate) fn setting(&self) -> &'static str {
        match self {
            Limit::Rate(_) => "limits.submissions_per_s",
            Limit::Share { .. } => "limits.open_percent",
        }
    }

    /// Returns the value that it is set to.
    pub(crate) fn value(&self) -> u64 {
        match self {
            Limit::Rate(rate) => rate.per_s,
            Limit::Share { percent, .. } => *percent,
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Some(name) => f.write_str(name)?,
            None => f.write_str("callers without identity, who count as one,")?,
        }
        let have = if self.who.is_some() { "has" } else { "have" };
        let setting = self.limit.setting();
        let after_ms = self.after.as_millis() + 1;
        match self.limit {
            Limit::Rate(Rate { per_s, burst }) => write!(
                f,
                " {have} submitted as much as one identity may: {per_s} a second, and {burst} at once ({setting}); come back in \
                 {after_ms} ms, or have the limit raised"
            ),
            Limit::Share { open, percent } => write!(
                f,
                " {have} {open} transactions open, and one identity may hold {percent} % of all that may be ({setting}); come back \
                 when some have ended, or have the limit raised"
            ),
        }
    }
}

impl Holders {
    pub(crate) fn new(server: LimitsConfig, by_name: LimitsByName, max_open_transactions: usize) -> Holders {
        let mut holders = Holders {
            server,
            by_name,
            max_open_transactions,
            is_off: true,
            all: BTreeMap::new(),
            others: Some("all others".into()),
            open: DigestMap::new(),
        };
        holders.apply();
        holders
    }

    /// Sets other limits, from now on. Returns true if they are others.
    pub(crate) fn set_server(&mut self, server: LimitsConfig) -> bool {
        let are_others = self.server != server;
        if are_others {
            self.server = server;
            self.apply();
        }
        are_others
    }

    /// Sets other limits of single identities, from now on.
    pub(crate) fn set_by_name(&mut self, by_name: LimitsByName) {
        if !Arc::ptr_eq(&self.by_name, &by_name) {
            self.by_name = by_name;
            self.apply();
        }
    }

    fn apply(&mut self) {
        self.is_off = self.server.limits() == Limits::NONE && self.by_name.is_empty();
        if self.is_off {
            self.all.clear();
            self.open = DigestMap::new();
        }
        for (who, holder) in &mut self.all {
            holder.limits = limits(&self.server, &self.by_name, who);
        }
    }

    /// Lets somebody begin a transaction, or says which limit stands against it.
    pub(crate) fn admit(&mut self, who: &Who, now: Duration) -> Result<(), Exceeded> {
        if self.is_off {
            return Ok(());
        }
        let max_open = self.max_open_transactions;
        let holder = self.holder(who);
        let Limits { rate, open_percent } = holder.limits;
        let may_hold = (max_open as u128 * u128::from(open_percent) / 100).max(1);
        let exceeded = |limit, after| Exceeded { who: who.clone(), limit, after };
        if open_percent < 100 && holder.open as u128 >= may_hold {
            let share = Limit::Share { open: holder.open, percent: open_percent };
            return Err(exceeded(share, COME_BACK_TO_SHARE_AFTER));
        }
        let Some(rate) = rate else { return Ok(()) };
        holder.bucket.take(rate, now).map_err(|wait| exceeded(Limit::Rate(rate), wait))
    }

    /// Returns what somebody has taken.
    fn holder(&mut self, who: &Who) -> &mut Holder {
        let is_one_more = self.all.len() >= MAX_TOLD_APART && !self.all.contains_key(who);
        let who = if is_one_more { &self.others } else { who };
        self.all.entry(who.clone()).or_insert_with(|| Holder {
            limits: limits(&self.server, &self.by_name, who),
            bucket: Bucket::default(),
            open: 0,
        })
    }

    /// Counts a transaction that somebody has begun.
    pub(crate) fn begun(&mut self, tx: &TxId, who: &Who) {
        if self.is_off || self.open.contains_key(tx) {
            return;
        }
        self.holder(who).open += 1;
        let counted = if self.all.contains_key(who) { who } else { &self.others };
        self.open.insert(tx.clone(), counted.clone());
    }

    /// Counts a transaction no more.
    pub(crate) fn ended(&mut self, tx: &TxId) {
        if self.is_off {
            return;
        }
        if let Some(holder) = self.open.remove(tx).and_then(|who| self.all.get_mut(&who)) {
            holder.open -= 1;
        }
    }

    /// Drops those of whom nothing has to be known any more.
    pub(crate) fn forget_idle(&mut self, now: Duration) {
        self.all.retain(|_, holder| holder.open > 0 || !holder.bucket.is_full(now));
    }
}

fn limits(server: &LimitsConfig, by_name: &LimitsByName, who: &Who) -> Limits {
    match who.as_ref().and_then(|name| by_name.get(name)) {
        Some(own) => own.over(server),
        None => server.limits(),
    }
}

#[cfg(test)]
mod tests;
