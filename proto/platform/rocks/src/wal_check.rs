//! The check of a folder's logs before RocksDB may replay them (R8).
//!
//! RocksDB (11.8) on a short log of five records with one bit flipped: its default, point-in-time recovery, opens and
//! drops the record and all behind it without a word; tolerating a corrupted tail does so where the bit makes a length
//! reach beyond the end of the log, and refuses otherwise; absolute consistency refuses; and in each of them a flip that
//! turns the kind of a later record into a recycled one makes recovery spin for ever.
//!
//! So each write-ahead log is read here first. Damage is refused, naming file, byte and record. A torn tail is cut off
//! the newest log, for good, so that what is left is whole and RocksDB can be told to accept nothing else; and so that
//! the log still passes when it is no longer the newest. The manifest, which has the same format, is checked the same
//! way, but its torn tail is left to RocksDB, which starts a new manifest at every open.
//!
//! An older log that is cut short while a later one goes on is refused, though a loss of power can cause it: where the
//! log changed between two lazy writes, no forced write followed, and the device kept the later one only.
//!
//! The folder must be claimed: a log that is being written looks torn.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::error::translate_io;
use super::folder::CURRENT;
use undoubt_platform::store::StoreError;
use undoubt_rocks_format::log::{Verdict, inspect};

pub(super) fn check(folder: &Path) -> Result<(), StoreError> {
    check_manifest(folder)?;
    let mut later_log: Option<PathBuf> = None;
    for log in logs_newest_first(folder)? {
        let content = read(&log)?;
        match (inspect(&content), &later_log) {
            (Verdict::Intact, _) => {}
            (Verdict::Torn { keep_bytes, .. }, None) => cut(&log, keep_bytes)?,
            (Verdict::Torn { keep_bytes, record }, Some(later)) => {
                let detail =
                    format!("record {record} at byte {keep_bytes} is cut short, though {} goes on", later.display());
                return Err(StoreError::Damaged { place: log.display().to_string(), detail });
            }
            (Verdict::Damaged { offset, record, detail }, _) => return Err(damaged(&log, offset, record, detail)),
        }
        if !content.is_empty() {
            later_log = Some(log);
        }
    }
    Ok(())
}

fn check_manifest(folder: &Path) -> Result<(), StoreError> {
    let current = folder.join(CURRENT);
    if !current.exists() {
        return Ok(());
    }
    let name = String::from_utf8_lossy(&read(&current)?).trim_end().to_owned();
    let manifest = folder.join(name);
    match inspect(&read(&manifest)?) {
        Verdict::Intact | Verdict::Torn { .. } => Ok(()),
        Verdict::Damaged { offset, record, detail } => Err(damaged(&manifest, offset, record, detail)),
    }
}

fn damaged(log: &Path, offset: usize, record: u64, detail: &str) -> StoreError {
    StoreError::Damaged {
        place: log.display().to_string(),
        detail: format!("record {record} at byte {offset}: {detail}"),
    }
}

/// Returns the logs, newest first, as RocksDB numbers them upwards.
fn logs_newest_first(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| translate_io(&error, "listing", folder))? {
        let path = entry.map_err(|error| translate_io(&error, "listing", folder))?.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (true, Some(number)) = (is_log, number) {
            logs.push((number, path));
        }
    }
    logs.sort_unstable();
    Ok(logs.into_iter().rev().map(|(_, path)| path).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            let detail = "the file is missing".to_owned();
            return StoreError::Damaged { place: path.display().to_string(), detail };
        }
        translate_io(&error, "reading", path)
    })
}

fn cut(log: &Path, keep_bytes: usize) -> Result<(), StoreError> {
    OpenOptions::new()
        .write(true)
        .open(log)
        .and_then(|file| file.set_len(keep_bytes as u64).and_then(|()| file.sync_all()))
        .map_err(|error| translate_io(&error, "cutting the torn tail off", log))
}
