//! RocksDB as this store uses it: how it is opened, and how a group of batches is applied.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    DEFAULT_COLUMN_FAMILY_NAME, DataBlockIndexType, Options, WriteBatch, WriteOptions,
};

use super::RocksOptions;
use super::error::{OpenError, translate, translate_at_open};
use super::folder::{CURRENT, Folder};
use undoubt_platform::identity::{self, META_NAME};
use undoubt_platform::store::{Batch, Durability, Family, Operation, StoreError};

/// Flushes and compactions at a time.
const BACKGROUND_JOBS: i32 = 2;
/// RocksDB's own messages, for who looks into a folder.
const MESSAGE_FILES: usize = 2;
const MESSAGE_FILE_BYTES: usize = 1024 * 1024;
/// Size of a manifest beyond which a new one is begun.
const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// The share of a device that all logs together may take, as a divisor; and the bytes that they may take of any device.
const WAL_SHARE_OF_DEVICE: u64 = 16;
const MIN_TOTAL_WAL_BYTES: u64 = 4 * 1024 * 1024;
/// The most bytes that a put takes in RocksDB's own form, with its share of the header: so that a batch need not grow
/// as it is filled.
const ENTRY_OVERHEAD_BYTES: usize = 24;
/// The typical size of a block, for the cache's table; a block of data is about as large, unpacked.
const TYPICAL_BLOCK_BYTES: usize = 4 * 1024;
const KEYS_PER_HASH_BUCKET: f64 = 0.75;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// The share of a family's memory that its filter takes before it is flushed.
const MEMTABLE_BLOOM_RATIO: f64 = 0.05;

pub(super) fn open(folder: &Folder, families: &[Family], options: &RocksOptions) -> Result<DB, OpenError> {
    let path = folder.path();
    let failed = |error: rocksdb::Error| translate_at_open(&error, path);
    refuse_unknown_families(path, families)?;

    let blocks = block_options(options);
    let family_options = || {
        let mut family = Options::default();
        family.set_write_buffer_size(options.write_buffer_bytes);
        family.set_compression_type(DBCompressionType::Lz4);
        family.set_block_based_table_factory(&blocks);
        // Most look-ups are for what is new, and so is not there.
        family.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
        family.set_memtable_whole_key_filtering(true);
        family
    };
    let names = families.iter().map(|family| family.0).filter(|name| *name != DEFAULT_COLUMN_FAMILY_NAME);
    let descriptors = std::iter::once(DEFAULT_COLUMN_FAMILY_NAME)
        .chain(names)
        .map(|name| ColumnFamilyDescriptor::new(name, family_options()));
    let database_options = database_options(folder, options).map_err(failed)?;
    DB::open_cf_descriptors(&database_options, path, descriptors).map_err(failed)
}

fn database_options(folder: &Folder, options: &RocksOptions) -> Result<Options, rocksdb::Error> {
    // Each log names its predecessor, and one log at least must exist: so a lost log is refused. The bindings have no
    // setter for it. Only a creation that was interrupted may have left no log yet.
    let must_have_log = folder.is_established() || !folder.path().join(CURRENT).exists();
    let mut database = Options::default().get_options_from_string(format!("track_and_verify_wals={must_have_log}"))?;
    database.create_if_missing(!folder.is_established());
    database.create_missing_column_families(true);
    database.set_paranoid_checks(true);
    database.set_track_and_verify_wals_in_manifest(true);
    // The default stops at the first damaged record and drops all behind it in silence; tolerating a corrupted tail
    // does the same when a damaged length makes a record reach beyond the end of a short log. A torn tail has been cut
    // by now, so nothing needs to be tolerated.
    database.set_wal_recovery_mode(DBRecoveryMode::AbsoluteConsistency);
    database.set_recycle_log_file_num(0);
    database.set_max_total_wal_size(total_wal_bytes(folder, options));
    database.set_max_manifest_file_size(MANIFEST_BYTES);
    database.set_db_write_buffer_size(options.total_write_buffer_bytes);
    database.set_max_background_jobs(BACKGROUND_JOBS);
    database.set_keep_log_file_num(MESSAGE_FILES);
    database.set_max_log_file_size(MESSAGE_FILE_BYTES);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    Ok(database)
}

/// Returns the bytes of all logs as asked for, but no more than a share of the device: a log is let go only once all
/// that it holds is in tables, so what was deleted keeps its room until then.
fn total_wal_bytes(folder: &Folder, options: &RocksOptions) -> u64 {
    let of_device = folder.device_bytes().map_or(u64::MAX, |bytes| bytes / WAL_SHARE_OF_DEVICE);
    options.total_wal_bytes.min(of_device.max(MIN_TOTAL_WAL_BYTES))
}

fn block_options(options: &RocksOptions) -> BlockBasedOptions {
    let mut blocks = BlockBasedOptions::default();
    // Looked into for each block that a read passes, by all threads: this one takes no lock for it.
    blocks.set_block_cache(&Cache::new_hyper_clock_cache(options.block_cache_bytes, TYPICAL_BLOCK_BYTES));
    // Keys are looked up far more often than they are gone through.
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_data_block_hash_ratio(KEYS_PER_HASH_BUCKET);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    blocks.set_whole_key_filtering(true);
    blocks
}

fn refuse_unknown_families(path: &Path, families: &[Family]) -> Result<(), OpenError> {
    if !path.join(CURRENT).exists() {
        return Ok(());
    }
    let present = DB::list_cf(&Options::default(), path).map_err(|error| translate_at_open(&error, path))?;
    let is_known =
        |name: &&String| *name == DEFAULT_COLUMN_FAMILY_NAME || families.iter().any(|known| known.0 == **name);
    let unknown: Vec<String> = present.iter().filter(|name| !is_known(name)).cloned().collect();
    if unknown.is_empty() {
        return Ok(());
    }
    // A newer version would have all that this one has.
    if families.iter().any(|family| !present.iter().any(|name| family.0 == *name))
        && let Some(owner) = owner(path)
    {
        return Err(OpenError::OfAnother { path: path.to_owned(), owner });
    }
    Err(StoreError::UnknownFamilies { families: unknown }.into())
}

/// Returns those of the families that a folder has, if it has no other.
pub(crate) fn present(path: &Path, families: &[Family]) -> Result<Vec<Family>, OpenError> {
    refuse_unknown_families(path, families)?;
    let present = DB::list_cf(&Options::default(), path).map_err(|error| translate_at_open(&error, path))?;
    Ok(families.iter().copied().filter(|family| present.iter().any(|name| family.0 == *name)).collect())
}

/// Returns whose folder it is, read without changing anything; `None` where that cannot be told.
fn owner(path: &Path) -> Option<String> {
    owner_of(&DB::open_cf_for_read_only(&Options::default(), path, [META_NAME], false).ok()?)
}

/// Returns whose data it is; `None` where that cannot be told.
pub(super) fn owner_of(database: &DB) -> Option<String> {
    identity::owner(|key| database.get_cf(database.cf_handle(META_NAME)?, key).ok()?)
}

pub(super) fn handle(database: &DB, family: Family) -> Result<&ColumnFamily, StoreError> {
    database.cf_handle(family.0).ok_or(StoreError::NoSuchFamily { family: family.0 })
}

/// Applies batches in one write to RocksDB. Nothing, forced, makes durable what was written before.
pub(super) fn applier(
    database: Arc<DB>,
    path: &Path,
) -> impl FnMut(&[Batch], Durability) -> Result<(), StoreError> + Send + 'static {
    let place = path.display().to_string();
    move |batches, durability| {
        let forced = durability == Durability::Forced;
        let outcome = if batches.iter().any(|batch| !batch.is_empty()) {
            let mut options = WriteOptions::default();
            options.set_sync(forced);
            database.write_opt(convert(&database, batches)?, &options)
        } else if forced {
            database.flush_wal(true)
        } else {
            Ok(())
        };
        outcome.map_err(|error| translate(&error, || place.clone()))
    }
}

fn convert(database: &DB, batches: &[Batch]) -> Result<WriteBatch, StoreError> {
    let bytes: usize = batches.iter().map(|batch| batch.payload_bytes() + batch.len() * ENTRY_OVERHEAD_BYTES).sum();
    let mut converted = WriteBatch::with_capacity_bytes(bytes);
    for change in batches.iter().flat_map(Batch::iter) {
        let family = handle(database, change.family())?;
        match change {
            Operation::Put { key, value, .. } => converted.put_cf(family, key, value),
            Operation::Delete { key, .. } => converted.delete_cf(family, key),
            Operation::DeleteRange { from, to, .. } => converted.delete_range_cf(family, from, to),
        }
    }
    Ok(converted)
}
