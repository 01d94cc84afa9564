//! A process as the world outside sees it: what it may still reach.
//!
//! Everything that leaves a simulated process, bytes on connections and writes to its disk, passes its switch. So a
//! process can die *between two lines of code*: from that moment on nothing it does has any effect, although turmoil
//! drops its tasks only at the end of the tick. And it can be paused, as a machine that swaps or a process that is
//! stopped: what it says and writes waits until it goes on (P9).

use std::future::Future;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Dead,
}

/// The switch of one process. Clones share it.
#[derive(Clone, Debug)]
pub struct Process(Arc<watch::Sender<State>>);

impl Default for Process {
    fn default() -> Self {
        Process(Arc::new(watch::Sender::new(State::Running)))
    }
}

impl Process {
    /// Kills the process for good.
    pub fn kill(&self) {
        self.0.send_replace(State::Dead);
    }

    /// A dead process stays dead.
    pub fn pause(&self) {
        self.replace(State::Running, State::Paused);
    }

    pub fn resume(&self) {
        self.replace(State::Paused, State::Running);
    }

    pub fn is_running(&self) -> bool {
        *self.0.borrow() == State::Running
    }

    pub fn is_dead(&self) -> bool {
        *self.0.borrow() == State::Dead
    }

    /// Done once the process runs; never, once it is dead.
    pub fn running(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.0.subscribe();
        async move {
            if state.wait_for(|state| *state == State::Running).await.is_err() {
                std::future::pending().await
            }
        }
    }

    fn replace(&self, from: State, to: State) {
        self.0.send_if_modified(|state| {
            let changes = *state == from;
            if changes {
                *state = to;
            }
            changes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn a_paused_process_goes_on_and_a_dead_one_never() {
        let process = Process::default();
        assert!(process.running().now_or_never().is_some());
        process.pause();
        let running = process.running();
        assert!(process.running().now_or_never().is_none());
        process.resume();
        assert!(running.now_or_never().is_some());
        process.kill();
        process.resume();
        assert!(process.is_dead() && process.running().now_or_never().is_none());
    }
}
