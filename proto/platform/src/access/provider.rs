//! Callers whom an identity provider names: their tokens are signed, so they are verified and not looked up.

use super::role::Roles;
use super::settings::Grant;
use super::token::TokenHash;
use crate::clock::{Clock, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens whose verification is remembered.
pub(crate) const MAX_VERIFIED_TOKENS: usize = 10_000;

/// The holder of a token that was verified, as the provider knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub name: Arc<str>,
    pub groups: Vec<String>,
    /// The time from which on the token does not hold any more.
    pub until: Timestamp,
}

/// Returns the holder of a token at a time, or says why there is none, without repeating the token.
pub type Verify = dyn Fn(&str, Timestamp) -> Result<Holder, String> + Send + Sync;

/// A provider whose tokens a server takes.
pub struct Provider {
    verify: Box<Verify>,
    clock: Arc<dyn Clock>,
    /// The roles of groups.
    grants: BTreeMap<String, Roles>,
    verified: Mutex<Verified>,
}

/// A holder as it is remembered, with the roles that its groups give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: Arc<str>,
    pub(super) roles: Roles,
    until: Timestamp,
}

impl Provider {
    /// Returns a provider whose tokens `verify` verifies. It is asked once for each token, and again when others have pushed that
    /// one out.
    pub fn new(clock: Arc<dyn Clock>, grants: &[Grant], verify: Box<Verify>) -> Provider {
        let roles = |grant: &Grant| (grant.group.clone(), grant.roles.iter().copied().collect());
        let grants = grants.iter().map(roles).collect();
        Provider { verify, clock, grants, verified: Mutex::default() }
    }

    /// Returns the holder of a token.
    pub(super) fn holder(&self, token: &str, hash: TokenHash) -> Result<Known, String> {
        let now = self.clock.now();
        if let Some(known) = self.verified().get(hash, now) {
            return Ok(known);
        }
        let Holder { name, groups, until } = (self.verify)(token, now)?;
        let roles = groups.iter().filter_map(|group| self.grants.get(group)).copied().fold(Roles::NONE, Roles::and);
        let known = Known { name, roles, until };
        self.verified().keep(hash, known.clone(), now);
        Ok(known)
    }

    fn verified(&self) -> MutexGuard<'_, Verified> {
        // Nothing panics while it is locked.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("grants", &self.grants).finish_non_exhaustive()
    }
}

/// Returns true if a text may be a signed token: those that servers know by their hash have no points.
pub(super) fn may_be_signed(token: &str) -> bool {
    token.contains('.')
}

/// The tokens that were verified, by the first bytes of their hashes. Of two that begin the same the later is known.
#[derive(Default)]
struct Verified {
    by_prefix: BTreeMap<u64, (TokenHash, Known)>,
    /// The same by their ends, which is the order in which they go.
    by_end: BTreeSet<(Timestamp, u64)>,
}

impl Verified {
    fn get(&self, hash: TokenHash, now: Timestamp) -> Option<Known> {
        let (known, holder) = self.by_prefix.get(&hash.prefix())?;
        (*known == hash && now < holder.until).then(|| holder.clone())
    }

    fn keep(&mut self, hash: TokenHash, holder: Known, now: Timestamp) {
        while let Some((end, prefix)) = self.by_end.first().copied() {
            if end > now && self.by_prefix.len() < MAX_VERIFIED_TOKENS {
                break;
            }
            self.by_end.remove(&(end, prefix));
            self.by_prefix.remove(&prefix);
        }
        let (prefix, until) = (hash.prefix(), holder.until);
        if let Some((_, former)) = self.by_prefix.insert(prefix, (hash, holder)) {
            self.by_end.remove(&(former.until, prefix));
        }
        self.by_end.insert((until, prefix));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(until: u64) -> Known {
        Known { name: until.to_string().into(), roles: Roles::NONE, until: Timestamp(until) }
    }

    fn hash(number: u64) -> TokenHash {
        TokenHash::of(&number.to_string())
    }

    #[test]
    fn as_many_as_there_is_room_for_are_remembered_and_those_that_end_first_go_first() {
        let mut verified = Verified::default();
        let most = MAX_VERIFIED_TOKENS as u64;
        for number in 1..=most + 2 {
            verified.keep(hash(number), known(number), Timestamp(0));
        }
        assert_eq!((verified.by_prefix.len(), verified.by_end.len()), (MAX_VERIFIED_TOKENS, MAX_VERIFIED_TOKENS));
        let is_known = |number| verified.get(hash(number), Timestamp(0)).is_some();
        assert_eq!([1, 2, 3, most + 2].map(is_known), [false, false, true, true]);
    }

    #[test]
    fn what_has_ended_is_not_known_and_leaves_with_the_next_that_comes() {
        let mut verified = Verified::default();
        for number in 1..=9 {
            verified.keep(hash(number), known(number), Timestamp(0));
        }
        assert!(verified.get(hash(5), Timestamp(4)).is_some() && verified.get(hash(5), Timestamp(5)).is_none());
        verified.keep(hash(20), known(20), Timestamp(8));
        assert_eq!((verified.by_prefix.len(), verified.by_end.len()), (2, 2));
        // The same once more, as two callers may have it verified at the same time.
        verified.keep(hash(20), known(20), Timestamp(8));
        assert_eq!((verified.by_prefix.len(), verified.by_end.len()), (2, 2));
    }
}
