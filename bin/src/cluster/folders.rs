//! Copies of data folders, and what people do with them.

use super::{Cluster, Who};
use anyhow::Context;
use std::path::{Path, PathBuf};

impl Cluster {
    /// Copies a data folder as it is at the moment, while its owner may write to it. Returns the place of the copy.
    pub fn copy(&self, who: Who, name: &str) -> anyhow::Result<PathBuf> {
        let to = self.folder().join(name);
        std::fs::create_dir(&to).with_context(|| format!("cannot make {}", to.display()))?;
        for entry in std::fs::read_dir(self.data_dir(who))? {
            let path = entry?.path();
            let Some(name) = path.file_name() else { continue };
            // A file may be gone by now: a copy of what is in use has no better.
            let _ = std::fs::copy(&path, to.join(name));
        }
        Ok(to)
    }

    /// Puts a copy in the place of the data folder of a process that is dead.
    pub fn put_back(&self, who: Who, copy: &Path) -> anyhow::Result<()> {
        self.empty(who)?;
        std::fs::rename(copy, self.data_dir(who)).context("cannot put the copy back")
    }

    /// Removes the data folder of a process that is dead.
    pub fn empty(&self, who: Who) -> anyhow::Result<()> {
        std::fs::remove_dir_all(self.data_dir(who)).context("cannot remove the data folder")
    }
}
