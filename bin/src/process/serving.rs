//! The frame of a run, the same for every server.

use super::signals::{HangUps, listen};
use super::{
    Failed, Failure, LogLevel, NotOpened, OpenStore, OrFailed as _, Place, Ran, ServerArgs, Shutdown, Supervisor,
    run_with_room,
};
use undoubt_platform::{CrashPoints, OsRandom, Random};
use undoubt_vocabulary::seed_digests;

/// The means of a server's process that has begun.
#[derive(Debug)]
pub struct Process {
    pub crash: CrashPoints,
    pub shutdown: Shutdown,
    pub hang_ups: HangUps,
    /// The filter of the log.
    pub log: LogLevel,
    pub supervisor: Supervisor,
}

impl ServerArgs {
    /// Begins the process: its log, its random seeds, its signals. Returns `None` if the settings were to be printed and nothing
    /// else, which is done then.
    pub fn begin<C: serde::Serialize>(&self, config: &C, log: &str) -> Result<Option<Process>, Failed> {
        if self.print_config {
            self.print(config)?;
            return Ok(None);
        }
        let log = LogLevel::start(self.log_format, log).or_failed(Failure::Configuration)?;
        seed_digests(OsRandom::new().u64()).map_err(anyhow::Error::from)?;
        let crash = self.crash_points().or_failed(Failure::Configuration)?;
        let supervisor = Supervisor::of_environment();
        supervisor.clone().listen();
        let (shutdown, hang_ups) = listen(supervisor.clone())?;
        Ok(Some(Process { crash, shutdown, hang_ups, log, supervisor }))
    }
}

/// Opens the store and serves on it until that ends; again, as after a crash, whenever its device was full.
pub async fn serve_on(
    place: Place<'_>,
    min_free_bytes: u64,
    shutdown: &Shutdown,
    serve: impl AsyncFn(&OpenStore) -> Result<Ran, Failed>,
) -> Result<(), Failed> {
    run_with_room(place.data_dir, min_free_bytes, shutdown.clone(), || async {
        match OpenStore::open(place) {
            Ok(opened) => serve(&opened).await,
            Err(NotOpened::DiskFull(full)) => Ok(Ran::DiskFull(full)),
            Err(NotOpened::Failed(failed)) => Err(failed),
        }
    })
    .await
}

impl OpenStore {
    /// Returns how a run on this store ended. Whatever error came first, the store knows why it stopped.
    pub fn ran<E>(&self, ended: Result<(), E>, kind_of: impl FnOnce(&E) -> Failure) -> Result<Ran, Failed>
    where
        E: Into<anyhow::Error>,
    {
        match ended {
            Ok(()) => Ok(Ran::Ended),
            Err(error) if self.ran_out_of_room() => Ok(Ran::DiskFull(error.into())),
            Err(error) => Err(Failed::new(kind_of(&error), error)),
        }
    }
}
