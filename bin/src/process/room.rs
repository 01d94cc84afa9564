//! Runs of a server whose device may become full: it waits for room, and recovers.

use super::{Failed, Shutdown};
use std::fs::{self, File};
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// The pause before it is tried again whether there is room; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A run that lasted so long was no mere attempt: after it pauses begin with the first again.
const LASTING: Duration = Duration::from_secs(60);

/// The files that are written together to find out whether there is room: about what opening a folder takes.
const PROBE_FILES: usize = 8;
const PROBE_FILE_BYTES: usize = 512 * 1024;

/// The end of one run of a server.
#[derive(Debug)]
pub enum Ran {
    Ended,
    DiskFull(anyhow::Error),
}

/// Runs a server until it ends. When the device was full, nothing acknowledged is lost, but how much of the last write
/// landed is unknown: so it recovers from its folder as after a crash, once something can be written again. Numbers alone
/// do not tell that: a quota is seen only by writing. `min_free_bytes` is not waited for, because what expires can give its
/// room back only while the server runs; it takes no new work meanwhile.
pub async fn run_with_room<F: Future<Output = Result<Ran, Failed>>>(
    data_dir: &Path,
    min_free_bytes: u64,
    shutdown: Shutdown,
    mut run: impl FnMut() -> F,
) -> Result<(), Failed> {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        warn_of_a_small_device(data_dir, min_free_bytes);
        match run().await? {
            Ran::Ended => return Ok(()),
            Ran::DiskFull(error) => {
                tracing::error!(error = format!("{error:#}"), "no room on the device: waiting for it");
            }
        }
        if began.elapsed() >= LASTING {
            pause = FIRST_PAUSE;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.clone().asked() => return Ok(()),
            }
            pause = (pause * 2).min(MAX_PAUSE);
            match probe(data_dir) {
                Ok(()) => break,
                Err(error) => tracing::debug!(%error, pause_ms = pause.as_millis(), "still no room"),
            }
        }
        tracing::info!("there is room again: recovering");
    }
}

/// Tries whether there is room in the folder: makes files, forces them, and removes them.
fn probe(data_dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(data_dir)?;
    // A store takes files with such names for the remains of an interrupted creation, should this be interrupted.
    let files: Vec<_> = (0..PROBE_FILES).map(|number| data_dir.join(format!("probe-{number}.dbtmp"))).collect();
    let written = files.iter().try_for_each(|path| {
        let mut file = File::create(path)?;
        file.write_all(&[0; PROBE_FILE_BYTES])?;
        file.sync_all()
    });
    for path in &files {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    written
}

fn warn_of_a_small_device(data_dir: &Path, min_free_bytes: u64) {
    // If the folder is not there yet, or cannot be asked, opening it tells.
    let Ok(found) = rustix::fs::statvfs(data_dir) else { return };
    let device_bytes = found.f_blocks.saturating_mul(found.f_frsize);
    if device_bytes / 2 < min_free_bytes {
        tracing::warn!(
            min_free_bytes,
            device_bytes,
            "more than half of the device is to be kept free: work is taken only in the rest; lower min_free_bytes, or use a \
             larger device"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_behind_and_fails_where_nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        probe(&data_dir).unwrap();
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 0);
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(probe(&folder.path().join("file")).is_err());
    }
}
