//! The signals that a server listens to.

use super::Supervisor;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Done once SIGTERM or SIGINT has come, for as many as wait for it.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// SIGHUP, which others send to have certificates and identities read again, and a closed terminal sends too. It ends nothing.
#[derive(Clone, Debug)]
pub struct HangUps(watch::Receiver<u64>);

/// Listens to signals from now on. The supervisor hears at once that the server stops.
pub fn listen(supervisor: Supervisor) -> anyhow::Result<(Shutdown, HangUps)> {
    let (asked, asked_for) = watch::channel(false);
    let (hung_up, hang_ups) = watch::channel(0);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        // Listening goes on, for else the next one would end the process.
        while hang_up.recv().await.is_some() {
            hung_up.send_modify(|count| *count += 1);
        }
    });
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
        supervisor.stopping();
        asked.send_replace(true);
    });
    Ok((Shutdown(asked_for), HangUps(hang_ups)))
}

impl Shutdown {
    /// Returns one that is done once `true` is sent.
    pub fn by_hand() -> (watch::Sender<bool>, Shutdown) {
        let (ask, asked_for) = watch::channel(false);
        (ask, Shutdown(asked_for))
    }

    pub async fn asked(mut self) {
        // The sender lives until it has been sent.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}

impl HangUps {
    /// Waits for the next one. Several that come at once count as one.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
