use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use crate::ServerError;
use crate::programs::{RunAs, run};

/// A copy of a server's data folder, in a temporary folder of its own that goes with it.
#[derive(Debug)]
pub struct Copy {
    folder: TempDir,
}

impl Copy {
    pub(crate) fn empty(run_as: RunAs) -> Result<Self, ServerError> {
        Ok(Self { folder: private_folder(run_as)? })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) async fn of(data: &Path, run_as: RunAs) -> Result<Self, ServerError> {
        let copy = Self::empty(run_as)?;
        copy_folder(data, &copy.data()).await?;
        Ok(copy)
    }

    /// Replaces a data folder by this copy, which stays as it is.
    pub(crate) async fn put_back(&self, data: &Path) -> Result<(), ServerError> {
        if data.exists() {
            std::fs::remove_dir_all(data).map_err(ServerError::io(format!("removing {}", data.display())))?;
        }
        copy_folder(&self.data(), data).await
    }
}

/// Makes a temporary folder that only the servers' user, and root, may enter.
pub(crate) fn private_folder(run_as: RunAs) -> Result<TempDir, ServerError> {
    // A short name, because the path of a socket may have 107 bytes at most.
    let folder = tempfile::Builder::new().prefix("undoubt-db-").tempdir();
    let folder = folder.map_err(ServerError::io("making a temporary folder for a server"))?;
    give(folder.path(), run_as)?;
    Ok(folder)
}

pub(crate) fn give(path: &Path, run_as: RunAs) -> Result<(), ServerError> {
    let Some((user, group)) = run_as else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(user), Some(group))
        .map_err(ServerError::io(format!("giving {} to the servers' user", path.display())))
}

async fn copy_folder(from: &Path, to: &Path) -> Result<(), ServerError> {
    let mut command = Command::new("cp");
    command.args(["--archive", "--reflink=auto"]).arg(from).arg(to);
    run(command, "").await?;
    Ok(())
}
