//! The folder of a store: who may use it, and whether it is one.
//!
//! A file named [`CLAIM`] is locked for as long as the store is open; the operating system frees it when the process
//! ends, however it ends. Its content tells a store whose creation has finished. Before that, only what an interrupted
//! creation leaves may be in the folder; after that, RocksDB creates nothing anew, so that a wiped manifest or a lost
//! log is refused and not taken for a new store.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::{OpenError, translate_io};
use undoubt_platform::store::{Room, StoreError};

pub(super) const CLAIM: &str = "UNDOUBT";
pub(super) const CURRENT: &str = "CURRENT";
const ESTABLISHED: &[u8] = b"established\n";

/// Little can be written in this time, compared with what is kept free.
const ROOM_HOLD: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Holds the lock until it is dropped.
    claim: File,
    established: bool,
    room: Mutex<Option<(Instant, Room)>>,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing alone would not free it at once: a child process that is just being started has the file too, until it
        // runs its own program. Should unlocking fail, closing frees it a moment later.
        let _ = self.claim.unlock();
    }
}

impl Folder {
    pub(super) fn claim(path: &Path) -> Result<Folder, OpenError> {
        create(path)?;
        let claim_path = path.join(CLAIM);
        if !claim_path.exists() {
            refuse_foreign(path)?;
        }
        let mut claim = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&claim_path)
            .map_err(|error| translate_io(&error, "opening", &claim_path))?;
        claim.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::AlreadyOpen { path: path.to_owned() },
            TryLockError::Error(error) => translate_io(&error, "locking", &claim_path).into(),
        })?;
        let mut content = Vec::new();
        claim.read_to_end(&mut content).map_err(|error| translate_io(&error, "reading", &claim_path))?;
        let established = content == ESTABLISHED;
        if !established {
            refuse_foreign(path)?;
        } else if !path.join(CURRENT).exists() {
            return Err(StoreError::Damaged {
                place: path.display().to_string(),
                detail: format!("the file {CURRENT}, which names the manifest, is missing"),
            }
            .into());
        }
        Ok(Folder { path: path.to_owned(), claim, established, room: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if creation finished in an earlier start.
    pub(super) fn is_established(&self) -> bool {
        self.established
    }

    /// Notes that creation has finished. From now on nothing that is missing is created anew.
    pub(super) fn establish(&self) -> Result<(), StoreError> {
        if self.established {
            return Ok(());
        }
        let claim_path = self.path.join(CLAIM);
        self.claim
            .set_len(0)
            .and_then(|()| (&self.claim).write_all(ESTABLISHED))
            .and_then(|()| self.claim.sync_all())
            .map_err(|error| translate_io(&error, "writing", &claim_path))?;
        sync_folder(&self.path)
    }

    /// Returns the room as it was found at most [`ROOM_HOLD`] ago: everybody who brings work asks.
    pub(super) fn room(&self) -> Result<Room, StoreError> {
        let now = Instant::now();
        let mut last = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, room)) = *last
            && now.duration_since(at) < ROOM_HOLD
        {
            return Ok(room);
        }
        let found = self.statvfs()?;
        // A file system that makes its file entries as they are needed counts none.
        let files = (found.f_files > 0).then_some(found.f_favail);
        let room = Room { bytes: Some(found.f_bavail.saturating_mul(found.f_frsize)), files };
        *last = Some((now, room));
        Ok(room)
    }

    /// Returns the size of the device, free or not.
    pub(super) fn device_bytes(&self) -> Result<u64, StoreError> {
        self.statvfs().map(|found| found.f_blocks.saturating_mul(found.f_frsize))
    }

    fn statvfs(&self) -> Result<rustix::fs::StatVfs, StoreError> {
        rustix::fs::statvfs(&self.path)
            .map_err(|error| translate_io(&error.into(), "asking for the free space of", &self.path))
    }
}

/// Returns true if a creation has finished in the folder at `path`.
pub(super) fn is_established(path: &Path) -> bool {
    fs::read(path.join(CLAIM)).is_ok_and(|content| content == ESTABLISHED)
}

/// Makes a folder with the files of a store one whose creation has finished; durable once the folder is forced.
pub(super) fn establish_copy(path: &Path) -> io::Result<()> {
    let mut claim = File::create_new(path.join(CLAIM))?;
    claim.write_all(ESTABLISHED)?;
    claim.sync_all()
}

fn create(path: &Path) -> Result<(), OpenError> {
    if path.is_dir() {
        return Ok(());
    }
    if path.exists() {
        return Err(OpenError::NoFolder { path: path.to_owned() });
    }
    fs::create_dir_all(path).map_err(|error| translate_io(&error, "creating the folder", path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => Ok(sync_folder(parent)?),
        Some(_) | None => Ok(()),
    }
}

/// Forces a folder: a new name in it survives a loss of power only after that.
pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| translate_io(&error, "forcing the folder", path))
}

fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let entries = fs::read_dir(path).map_err(|error| translate_io(&error, "listing", path))?;
    for entry in entries {
        let entry = entry.map_err(|error| translate_io(&error, "listing", path))?;
        let bytes = entry.metadata().map_err(|error| translate_io(&error, "looking at", &entry.path()))?.len();
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_left_by_unfinished_creation(&name, bytes) {
            return Err(OpenError::Foreign { path: path.to_owned(), found: format!("'{name}'") });
        }
    }
    Ok(())
}

/// Returns true if an unfinished creation left it. A store is handed out only after its creation, so an unfinished one
/// has neither tables nor a log with records.
fn is_left_by_unfinished_creation(name: &str, bytes: u64) -> bool {
    const NAMES: [&str; 6] = [CLAIM, CURRENT, "LOCK", "LOG", "IDENTITY", "lost+found"];
    const PREFIXES: [&str; 3] = ["LOG.old.", "MANIFEST-", "OPTIONS-"];
    NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with(".dbtmp")
        || (name.ends_with(".log") && bytes == 0)
}
