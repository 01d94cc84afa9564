//! The file of a coordinator's secret key. It is no part of the store, and of no backup.

use super::{Failed, Failure, OrFailed as _};
use anyhow::Context as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use undoubt_platform::terminal::{say, unless_reader_left};
use undoubt_platform::{OsRandom, SecretKey};
use undoubt_vocabulary::PublicKey;

/// Nobody but the owner may read it.
const MODE: u32 = 0o600;

/// Shows the public part of a coordinator's key, or replaces the key by one that follows it.
///
/// Participants that have pinned the former key take the new one by its word. Rotate while the coordinator is stopped: a running one
/// goes on with the key that it has read.
#[derive(Debug, clap::Args)]
pub struct Key {
    /// The file of the key: the setting key_file, by default coordinator.key in the data folder.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace it by a new one, for which it vouches.
    #[arg(long)]
    rotate: bool,
}

impl Key {
    pub fn carry_out(self) -> Result<(), Failed> {
        let mut key = read(&self.file)?;
        if self.rotate {
            key = key.succeed(&OsRandom::new());
            write(&self.file, &key).or_failed(Failure::Storage)?;
        }
        unless_reader_left(say(key.public())).context("cannot write to the standard output").or_failed(Failure::Other)
    }
}

/// Reads the key of a coordinator, or draws one at its first start.
pub fn read_or_draw(file: &Path) -> Result<SecretKey, Failed> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = SecretKey::draw(&OsRandom::new());
            write(file, &key).or_failed(Failure::Storage)?;
            let public: PublicKey = key.public();
            tracing::warn!(
                file = %file.display(),
                %public,
                "a new key was drawn, by which participants know this coordinator from now on; no backup has it, so keep a copy of the file \
                 in a safe place"
            );
            Ok(key)
        }
        Ok(_) | Err(_) => read(file),
    }
}

fn read(file: &Path) -> Result<SecretKey, Failed> {
    let place = || format!("the key file {}", file.display());
    let text = fs::read_to_string(file).with_context(place).or_failed(Failure::Configuration)?;
    let mode = fs::metadata(file).with_context(place).or_failed(Failure::Configuration)?.mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %file.display(), "others may read this key file: chmod 600, and rotate the key if they did");
    }
    SecretKey::from_text(&text).with_context(place).or_failed(Failure::Configuration)
}

/// Puts the key in the file's place, whole or not at all.
fn write(file: &Path, key: &SecretKey) -> anyhow::Result<()> {
    let place = || format!("cannot write the key file {}", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(place)?;
    let part = file.with_extension("key.part");
    // A file left by an earlier attempt may have been readable for others.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(place),
        Ok(()) | Err(_) => {}
    }
    let mut open = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&part).with_context(place)?;
    open.write_all(key.to_text().as_bytes()).with_context(place)?;
    open.sync_all().with_context(place)?;
    fs::rename(&part, file).with_context(place)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_once_for_its_owner_alone_and_a_file_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("of/coordinator.key");
        let drawn = read_or_draw(&file).unwrap().public();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, MODE);
        assert_eq!(read_or_draw(&file).unwrap().public(), drawn);
        Key { file: file.clone(), rotate: true }.carry_out().unwrap();
        let next = read_or_draw(&file).unwrap();
        assert_ne!(next.public(), drawn);
        assert_eq!(next.successions()[0].former, drawn);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        fs::write(&file, "").unwrap();
        assert!(read_or_draw(&file).is_err());
    }
}
