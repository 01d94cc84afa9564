//! Copies of a store that is open.
//!
//! RocksDB's checkpoint makes the copy within the data folder first, where it can link most files instead of copying them: so
//! the store keeps what it would delete for a moment only. It is marked as a backup, and moved to where it is wanted; onto another
//! device it is copied, which may take long, and ends when the store closes. It appears under its name once it is whole and
//! forced.
//!
//! RocksDB flushes its memory before it looks at its files, and takes the logs after the tables. So the copy has every
//! batch that was applied before, and of those that come meanwhile a prefix: its newest log may end in the midst of one, like
//! a log that a crash has cut.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use futures::FutureExt as _;
use futures::future::ready;
use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;
use tokio::sync::oneshot;

use super::error::translate_io;
use super::{database, folder, folder_sign};
use undoubt_platform::clock::{Clock, SystemClock};
use undoubt_platform::store::{BackingUp, BackupError, StoreError};

/// The folder within the data folder in which a backup is made.
const STAGE: &str = "backup.part";
/// The one in which RocksDB makes it before that.
const STAGE_OF_ROCKSDB: &str = "backup.part.tmp";

/// The bytes that are copied between two looks whether the store closes.
const COPY_BYTES: usize = 1 << 20;

/// The backups of one store: at most one at a time.
#[derive(Debug)]
pub(super) struct Backups {
    source: Source,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone)]
struct Source {
    database: Arc<DB>,
    folder: PathBuf,
    copying: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Backups {
    pub(super) fn new(database: Arc<DB>, folder: &Path) -> Backups {
        let source = Source { database, folder: folder.to_owned(), copying: Arc::default(), closing: Arc::default() };
        Backups { source, thread: Mutex::default() }
    }

    /// Begins a copy on a thread of its own.
    pub(super) fn begin(&self, to: &Path) -> BackingUp {
        let refused = |why: String| ready(Err(BackupError::Refused { to: to.to_owned(), why })).boxed();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if self.source.copying.swap(true, Ordering::Relaxed) {
            return refused("another backup of this server is under way; wait for its end".to_owned());
        }
        let (answer, answered) = oneshot::channel();
        let (source, target) = (self.source.clone(), to.to_owned());
        let copy = move || {
            let copied = source.copy(&target);
            // Whoever hears the answer may ask for the next.
            source.copying.store(false, Ordering::Relaxed);
            // Nobody listening is fine: the copy is there whether or not its answer is awaited.
            drop(answer.send(copied));
        };
        if let Some(before) = thread.take() {
            // It has answered, and only lets the database go.
            let _ = before.join();
        }
        match thread::Builder::new().name("store-backup".into()).spawn(copy) {
            Ok(begun) => {
                *thread = Some(begun);
                let gone =
                    BackupError::Failed { to: to.to_owned(), detail: "its thread ended without an answer".into() };
                async move { answered.await.unwrap_or(Err(gone)) }.boxed()
            }
            Err(error) => {
                self.source.copying.store(false, Ordering::Relaxed);
                refused(format!("its thread cannot be started ({error}); try again later"))
            }
        }
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        self.source.closing.store(true, Ordering::Relaxed);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // After a panic there whoever waits has been told that the store ended.
            let _ = thread.join();
        }
    }
}

/// Removes what an interrupted backup has left in the data folder: it would keep what the store has deleted.
pub(super) fn clear(folder: &Path) -> Result<(), StoreError> {
    [STAGE, STAGE_OF_ROCKSDB].map(|name| folder.join(name)).iter().try_for_each(|path| {
        remove_all(path).map_err(|error| translate_io(&error, "removing what is left of a backup,", path))
    })
}

impl Source {
    fn copy(&self, to: &Path) -> Result<(), BackupError> {
        let beside = self.place(to).map_err(|why| BackupError::Refused { to: to.to_owned(), why })?;
        let copied = self.copy_by_way_of(&beside, to);
        if copied.is_err() {
            // If that fails too, the next backup removes it.
            let _ = remove_all(&beside);
        }
        if let Err(error) = clear(&self.folder) {
            tracing::warn!(%error, "what was left of a backup in the data folder takes room there until the next start");
        }
        copied.map_err(|detail| BackupError::Failed { to: to.to_owned(), detail })
    }

    /// Returns the name that the copy has beside `to` while it is not whole, or why there may be none.
    fn place(&self, to: &Path) -> Result<PathBuf, String> {
        let (Some(parent), Some(name), true) = (to.parent(), to.file_name(), to.is_absolute()) else {
            return Err("the path has to begin with / and to end with the name of a folder; name it so".to_owned());
        };
        let real_parent = fs::canonicalize(parent)
            .map_err(|error| format!("{}: {error}; make that folder first", parent.display()))?;
        if fs::canonicalize(&self.folder).is_ok_and(|data| real_parent.starts_with(data)) {
            return Err("it is within the data folder; name one outside of it".to_owned());
        }
        match fs::symlink_metadata(to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("it cannot be looked at ({error}); name another folder")),
            Ok(found) => {
                let is_empty = found.is_dir() && fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_none());
                if !is_empty {
                    return Err("it exists, and is no empty folder; name one that does not exist yet".to_owned());
                }
            }
        }
        // A name that nobody else uses: what is there is removed.
        Ok(real_parent.join(format!(".{}.undoubt-part", name.to_string_lossy())))
    }

    /// Copies the store. `beside` is where the copy grows if it is for another device.
    fn copy_by_way_of(&self, beside: &Path, to: &Path) -> Result<(), String> {
        let stage = self.folder.join(STAGE);
        let taken_at = SystemClock.now();
        clear(&self.folder).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::new(&self.database).map_err(|error| error.to_string())?;
        checkpoint.create_checkpoint(&stage).map_err(|error| error.to_string())?;
        let of = database::owner_of(&self.database).unwrap_or_else(|| "an unknown server".to_owned());
        let finish = || {
            folder::establish_copy(&stage)?;
            folder_sign::mark(&stage, &of, taken_at)?;
            // Nobody may read more in it than in the data folder.
            fs::set_permissions(&stage, fs::metadata(&self.folder)?.permissions())?;
            File::open(&stage)?.sync_all()?;
            match fs::rename(&stage, to) {
                Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                    self.copy_files(&stage, beside)?;
                    fs::rename(beside, to)?;
                }
                moved => moved?,
            }
            // Its name survives a loss of power only once its folder is forced.
            beside.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
        };
        finish().map_err(|error: io::Error| error.to_string())
    }

    fn copy_files(&self, from: &Path, to: &Path) -> io::Result<()> {
        remove_all(to)?;
        fs::create_dir(to)?;
        fs::set_permissions(to, fs::metadata(from)?.permissions())?;
        let mut buffer = vec![0; COPY_BYTES];
        for entry in fs::read_dir(from)? {
            let path = entry?.path();
            let (mut source, name) = (File::open(&path)?, path.file_name().unwrap_or_default());
            let mut copy = File::create_new(to.join(name))?;
            loop {
                if self.closing.load(Ordering::Relaxed) {
                    return Err(io::Error::other("the server is stopping"));
                }
                match source.read(&mut buffer)? {
                    0 => break,
                    read => copy.write_all(&buffer[..read])?,
                }
            }
            copy.sync_all()?;
        }
        File::open(to)?.sync_all()
    }
}

fn remove_all(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
