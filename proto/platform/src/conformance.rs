//! The promises of every [`Store`], as a suite that any implementation runs.
//!
//! It panics at the first promise that is not kept, naming it.

mod life;
mod map;

use bytes::Bytes;

use crate::store::{Batch, Direction, Durability, Family, Store};

/// The families with which the suite wants stores opened.
pub const FAMILIES: [Family; 2] = [Family("left"), Family("right")];
const LEFT: Family = FAMILIES[0];
const RIGHT: Family = FAMILIES[1];

/// The largest batch that stores may take here: the suite fills one, and writes values of 1 MiB.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// Stores of one kind, each of which the suite knows by a name.
pub trait Stores {
    type Store: Store;

    /// Opens the store of this name with the families in [`FAMILIES`], and creates it the first time. It takes batches of at
    /// most [`MAX_BATCH_BYTES`]. `None`: its owner lives, and nothing can be taken from that.
    fn open(&mut self, name: &str) -> Option<Self::Store>;

    /// Ends its owner in the midst of whatever it does, and with it as much of what was not forced as can be: so a machine loses
    /// power.
    fn crash(&mut self, name: &str, store: Self::Store);

    /// Makes the store of this name refuse writes for now, or no longer. `false` where nothing makes it do so.
    fn set_away(&mut self, name: &str, away: bool) -> bool;
}

/// Holds stores of one kind to the contract.
pub async fn store_conformance(mut stores: impl Stores) {
    let stores = &mut stores;
    map::a_written_value_is_read_and_a_deleted_one_is_not(&open(stores, "values")).await;
    map::families_do_not_share_keys(&open(stores, "families")).await;
    map::batches_apply_in_call_order_whether_or_not_they_are_awaited(&open(stores, "order")).await;
    map::operations_of_a_batch_apply_in_their_order(&open(stores, "operations")).await;
    map::an_empty_batch_is_answered(&open(stores, "empty")).await;
    map::any_bytes_make_a_key_and_a_value(&open(stores, "binary")).await;
    map::scans_keep_bounds_direction_and_limit(&open(stores, "scan")).await;
    map::a_deleted_range_ends_before_its_upper_bound(&open(stores, "range")).await;
    map::free_space_is_told_or_unbounded(&open(stores, "free"));
    life::what_was_forced_is_there_after_reopening(stores).await;
    life::a_crash_leaves_a_prefix_with_all_that_was_forced(stores).await;
    life::whoever_had_it_before_writes_nothing_any_more(stores).await;
    life::what_cannot_be_written_now_leaves_nothing_and_can_be_repeated(stores).await;
    life::a_batch_is_taken_up_to_the_size_that_is_told_and_no_larger(stores).await;
}

fn open<S: Stores>(stores: &mut S, name: &str) -> S::Store {
    stores.open(name).expect("a store that nobody has can be opened")
}

fn put(family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Batch {
    let mut batch = Batch::default();
    batch.put(family, key, value);
    batch
}

async fn write(store: &impl Store, batch: Batch, durability: Durability) {
    store.write(batch, durability).await.expect("a write in good health succeeds");
}

fn read(store: &impl Store, family: Family, key: &[u8]) -> Option<Bytes> {
    store.get(family, key).expect("a read in good health succeeds")
}

fn scan_keys(store: &impl Store, direction: Direction, from: &[u8], to: Option<&[u8]>, limit: usize) -> Vec<String> {
    let pairs = store.scan(LEFT, from, to, direction, limit).expect("a scan in good health succeeds");
    pairs.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
}
