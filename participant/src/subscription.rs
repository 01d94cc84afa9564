//! Subscriptions: how a participant hears of what others publish, and does its own work about it.

mod rows;
mod store;

pub use rows::{FAMILIES, GIVEN_UP, INBOX, PARKED, REACTION, Rows, put_barrier, put_parked, put_place};
pub use store::{Carried, InboxId, LocalTransaction, Place, ReactionStore, StoredParked, StoredSubscriptions, Then};
