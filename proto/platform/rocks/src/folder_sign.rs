//! The signs in a data folder itself that it was put back.
//!
//! * [`SENTINEL`] holds its own inode number and time of birth. What copies it (`cp`, `rsync`, `tar`, a restore) makes another
//!   file, which is not the one that it tells of; what moves it within a file system does not.
//! * [`MARK`] is in every backup, and in no folder that a server works in.
//!
//! A folder of an earlier version has neither, and shows nothing. Some ways of putting data back show nothing here either: a
//! snapshot of the whole device or subvolume, and a copy written over the very files that are there. The device's number
//! is not compared, since it may change whenever the machine starts. Where the file system keeps no time of birth, a copy
//! that is given the number of the deleted original is not told from it.
//!
//! **A torn write is no sign.** The sentinel is one line of fixed length, less than a sector, written in place with one call and
//! closed by its own checksum. An ordinary start writes the very bytes that are there, so there is nothing to tear. Where
//! they change, because the file is new or was settled, a loss of power may leave none of them or a mixture: that does not match
//! the checksum, is told in the log, and is written anew. It is not taken for a copy, which an operator would have to accept.
//!
//! It is written at each start all the same: its time of change then differs from that of a copy made before, so that a tool that
//! passes over files which look alike (`rsync`) puts it back together with all others. Not so if the server was not started since
//! the copy was made.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use undoubt_rocks_format::sign::Mark;

use super::error::translate_io;
use super::folder::sync_folder;
use undoubt_platform::clock::Timestamp;
use undoubt_platform::store::StoreError;

pub use undoubt_rocks_format::sign::FileIdentity;

const SENTINEL: &str = "UNDOUBT-SENTINEL";
const MARK: &str = "UNDOUBT-BACKUP";

/// The most that is read of the mark: somebody may have written over it.
const MAX_MARK_BYTES: u64 = 512;

/// A sign that a data folder was put back: it may lack what its server has promised since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalSign {
    /// The files are not those that the server wrote.
    Copied { folder: PathBuf, expected: FileIdentity, found: FileIdentity },
    /// The folder is a backup.
    Backup { folder: PathBuf, of: String, taken_at: String },
}

impl fmt::Display for LocalSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalSign::Copied { folder, expected, found } => write!(
                f,
                "the data folder {} was copied or put back, and may lack what was promised since: its file {SENTINEL} says that \
                 it is {expected}, and is {found}. If this file system changes such numbers by itself, set folder_sign = false",
                folder.display()
            ),
            LocalSign::Backup { folder, of, taken_at } => write!(
                f,
                "the data folder {} is a backup of {of}, taken at {taken_at}, and lacks what was promised since",
                folder.display()
            ),
        }
    }
}

fn identity_of(file: &File) -> io::Result<FileIdentity> {
    let found = file.metadata()?;
    let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let born_ns = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(0);
    Ok(FileIdentity { inode: found.ino(), born_ns })
}

/// Returns the sign that a folder shows. It changes nothing. The sentinel is looked at only if `compares`; a backup's mark, which
/// no file system makes by itself, always.
pub(super) fn look(folder: &Path, compares: bool) -> Result<Option<LocalSign>, StoreError> {
    if let Some(backup) = marked(folder)? {
        return Ok(Some(backup));
    }
    if !compares {
        return Ok(None);
    }
    let path = folder.join(SENTINEL);
    let Some((content, found)) = read(&path).map_err(|error| translate_io(&error, "reading", &path))? else {
        return Ok(None);
    };
    let Some(expected) = FileIdentity::decode(&content) else {
        tracing::warn!(
            path = %path.display(),
            "the file that would show whether this data folder was copied is unreadable, as after a loss of power while it was \
             written: that is not checked this time, and the file is written anew"
        );
        return Ok(None);
    };
    let copied = LocalSign::Copied { folder: folder.to_owned(), expected, found };
    Ok((!expected.agrees_with(found)).then_some(copied))
}

fn read(path: &Path) -> io::Result<Option<(Vec<u8>, FileIdentity)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let identity = identity_of(&file)?;
    let mut content = Vec::new();
    // One byte more than there should be shows that there are more.
    file.take(identity.encode().len() as u64 + 1).read_to_end(&mut content)?;
    Ok(Some((content, identity)))
}

/// Makes the sentinel tell of itself. That is on stable storage when this returns.
pub(super) fn seal(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(SENTINEL);
    let write = || {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        let line = identity_of(&file)?.encode();
        file.write_all_at(line.as_bytes(), 0)?;
        file.set_len(line.len() as u64)?;
        file.sync_all()
    };
    write().map_err(|error| translate_io(&error, "writing", &path))?;
    sync_folder(folder)
}

/// Takes all signs away. That is on stable storage when this returns; after a crash before that, one is left at least.
pub(super) fn settle(folder: &Path) -> Result<(), StoreError> {
    seal(folder)?;
    let mark = folder.join(MARK);
    match fs::remove_file(&mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(translate_io(&error, "removing", &mark)),
        Ok(()) | Err(_) => sync_folder(folder),
    }
}

/// Marks a folder as a backup; durable once the folder is forced.
pub(super) fn mark(folder: &Path, of: &str, taken_at: Timestamp) -> io::Result<()> {
    let mark = Mark { of: of.to_owned(), taken_at: taken_at.to_string() };
    let mut file = File::create_new(folder.join(MARK))?;
    io::Write::write_all(&mut file, mark.encode().as_bytes())?;
    file.sync_all()
}

/// Returns the sign of a mark. That it is there counts, whatever is in it.
fn marked(folder: &Path) -> Result<Option<LocalSign>, StoreError> {
    let path = folder.join(MARK);
    let mut content = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_MARK_BYTES).read_to_end(&mut content));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| translate_io(&error, "reading", &path))?,
    };
    let Mark { of, taken_at } = Mark::read(&content);
    Ok(Some(LocalSign::Backup { folder: folder.to_owned(), of, taken_at }))
}
