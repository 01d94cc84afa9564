//! The sessions of a running participant.
//!
//! * One for control: it owns the database, ends and calls off others, and keeps records.
//! * Workers, each for one branch or step at a time, with a lease (see [`owner`]).
//! * Committers, which many share: what they do waits for no lock.
//! * One that numbers events, and one that reads them for others.
//!
//! A session that is not given back in good order is a suspect: the server may still work on it. Nothing is said of what it
//! was asked before it has ended.

use crate::class::told;
use crate::connect::{Absent, Connector};
use crate::kept;
use crate::owner::{self, Keys};
use crate::session::{Backend, Session};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use undoubt_participant::resource::ResourceError;
use undoubt_sql::{Identity, WriteNumbers};

/// Commits and aborts that one committer has under way.
const MAX_PIPED: usize = 16;

/// The time that a committer has beyond what the server gives to a statement.
const COMMIT_PATIENCE: Duration = Duration::from_secs(15);

/// The facts of this process's hold on the database, known once it owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) identity: Identity,
    pub(crate) run: i64,
    pub(crate) system_identifier: i64,
}

impl Hold {
    fn keys(&self) -> Keys {
        Keys::of(self.identity)
    }
}

#[derive(Debug)]
pub(crate) struct Sessions {
    connector: Connector,
    control: tokio::sync::Mutex<Option<Arc<Session>>>,
    committers: Vec<Committer>,
    numbering: Line,
    reading_events: Line,
    piped: Semaphore,
    working: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    reading: Arc<Semaphore>,
    suspects: Suspects,
    state: Mutex<State>,
}

/// A session for one purpose, connected when it is needed. It has a lease.
#[derive(Debug, Default)]
struct Line(tokio::sync::Mutex<Option<Arc<Session>>>);

#[derive(Debug, Default)]
struct Committer {
    line: Line,
    under_way: AtomicUsize,
}

/// A call on a committer that is under way.
struct UnderWay<'a>(&'a Committer);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct State {
    hold: Option<Hold>,
    /// The numbers of its writes, from the recovery on.
    numbers: Option<Arc<WriteNumbers>>,
    /// The reason why there is no new session, since the last one was there.
    away: Option<String>,
}

/// A session for one branch or step. Dropped before it is given back, it broke, or what it was asked was given up midway: then the
/// server may still work on it.
#[derive(Debug)]
pub(crate) struct Worker {
    session: Option<Session>,
    permit: Option<OwnedSemaphorePermit>,
    suspects: Suspects,
}

/// The server's processes of which nobody knows what they do.
type Suspects = Arc<Mutex<BTreeSet<Backend>>>;

impl Worker {
    pub(crate) fn session(&self) -> &Session {
        self.session.as_ref().expect("it is taken only when the worker is given back")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let pid = session.backend.pid;
            tracing::warn!(pid, "a session broke; it is ended before anything is said of what it was asked");
            suspects(&self.suspects).insert(session.backend);
        }
    }
}

fn suspects(suspects: &Suspects) -> MutexGuard<'_, BTreeSet<Backend>> {
    suspects.lock().expect("the set of suspects is whole")
}

impl Sessions {
    pub(crate) fn new(connector: Connector) -> Sessions {
        let settings = connector.settings();
        Sessions {
            control: tokio::sync::Mutex::default(),
            committers: (0..settings.committers).map(|_| Committer::default()).collect(),
            numbering: Line::default(),
            reading_events: Line::default(),
            piped: Semaphore::new(settings.committers * MAX_PIPED),
            working: Arc::new(Semaphore::new(settings.workers)),
            idle: Mutex::default(),
            reading: Arc::new(Semaphore::new(settings.max_readers)),
            suspects: Suspects::default(),
            state: Mutex::default(),
            connector,
        }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Takes the database: this process owns it from now on.
    pub(crate) async fn begin(&self, control: Session, hold: Hold) {
        *self.control.lock().await = Some(Arc::new(control));
        // The fence has ended them.
        suspects(&self.suspects).clear();
        let mut state = self.state();
        state.hold = Some(hold);
        state.numbers = None;
        state.away = None;
    }

    /// Notes the numbers of this start: a database that is met again has to hold them.
    pub(crate) fn begin_numbers(&self, numbers: Arc<WriteNumbers>) {
        self.state().numbers = Some(numbers);
    }

    /// Gives up all sessions: as before the first recovery.
    pub(crate) async fn end(&self) {
        *self.control.lock().await = None;
        let lines = self.committers.iter().map(|committer| &committer.line);
        for Line(session) in lines.chain([&self.numbering, &self.reading_events]) {
            *session.lock().await = None;
        }
        self.idle().clear();
    }

    pub(crate) fn hold(&self) -> Result<Hold, Absent> {
        self.state().hold.ok_or_else(|| Absent::Away("the recovery is not over yet".to_owned()))
    }

    /// Returns why there is no session, while there is none.
    pub(crate) fn away(&self) -> Option<String> {
        self.state().away.clone()
    }

    pub(crate) fn suspects(&self) -> usize {
        suspects(&self.suspects).len()
    }

    /// Returns the control session, connected anew if it broke.
    pub(crate) async fn control(&self) -> Result<Arc<Session>, Absent> {
        let mut control = self.control.lock().await;
        if let Some(session) = control.as_ref().filter(|session| !session.client.is_closed()) {
            return Ok(session.clone());
        }
        let former = control.take().map(|session| session.backend);
        let session = self.note(self.connect_control(former).await)?;
        let session = Arc::new(session);
        *control = Some(session.clone());
        Ok(session)
    }

    /// Connects the control session anew. The database has to be what it was, and still be owned by this process.
    async fn connect_control(&self, former: Option<Backend>) -> Result<Session, Absent> {
        let hold = self.hold()?;
        let session = self.connector.connect().await?;
        self.check_same(&session, hold).await?;
        if let Some(former) = former {
            owner::terminate(&session, former).await.map_err(|error| Absent::away(&error))?;
        }
        owner::take(&session, hold.keys(), false).await?;
        let numbers = self.state().numbers.clone();
        if let Some(numbers) = numbers {
            let highest = numbers.highest();
            if !kept::holds(&session, highest).await.map_err(|error| Absent::away(&error))? {
                let write = highest.write;
                return Err(Absent::Foreign(format!(
                    "the database has no trace of write {write}, which was answered for: it was put back to an earlier state"
                )));
            }
        }
        // Who has taken over in between has counted its run before it gave the lock back.
        self.check_same(&session, hold).await?;
        Ok(session)
    }

    /// Connects a session that works. It has its lease before it is handed out.
    async fn connect(&self) -> Result<Session, Absent> {
        let hold = self.hold()?;
        let connected = async {
            let session = self.connector.connect().await?;
            owner::lease(&session, hold.keys()).await?;
            self.check_same(&session, hold).await?;
            Ok(session)
        };
        self.note(connected.await)
    }

    fn note(&self, connected: Result<Session, Absent>) -> Result<Session, Absent> {
        let away = match &connected {
            Ok(_) => None,
            Err(Absent::Away(why) | Absent::Fenced(why) | Absent::Foreign(why)) => Some(why.clone()),
            Err(Absent::Silent) => Some(crate::attempt::NO_ANSWER.to_owned()),
        };
        self.state().away = away;
        connected
    }

    async fn check_same(&self, session: &Session, hold: Hold) -> Result<(), Absent> {
        let row = session
            .query(
                "SELECT id, (SELECT max(number) FROM undoubt.run), (SELECT system_identifier FROM pg_control_system()), \
                 pg_is_in_recovery() FROM undoubt.identity",
                &[],
            )
            .await
            .map_err(|error| Absent::away(&error))?;
        let read = |error: tokio_postgres::Error| Absent::away(&error);
        let Some(row) = row.first() else {
            return Err(Absent::Foreign("the table undoubt.identity is empty".to_owned()));
        };
        let id: &[u8] = row.try_get(0).map_err(read)?;
        let run: Option<i64> = row.try_get(1).map_err(read)?;
        let system_identifier: i64 = row.try_get(2).map_err(read)?;
        if row.try_get(3).map_err(read)? {
            return Err(Absent::Away("the server is a standby; it is tried again until it is promoted".to_owned()));
        }
        if id != hold.identity.0 || system_identifier != hold.system_identifier {
            return Err(Absent::Foreign("another database is under the same address now".to_owned()));
        }
        match run {
            Some(run) if run == hold.run => Ok(()),
            Some(run) if run > hold.run => {
                Err(Absent::Fenced(format!("run {run} has taken the database over from this one, {}", hold.run)))
            }
            Some(_) | None => {
                let cause = format!(
                    "the database does not know run {} any more: it was put back to an earlier state",
                    hold.run
                );
                Err(Absent::Foreign(cause))
            }
        }
    }

    /// Returns a session for work, once one is free.
    pub(crate) async fn worker(&self) -> Result<Worker, Absent> {
        let permit = self.working.clone().acquire_owned().await.expect("the semaphore is never closed");
        self.session(permit).await
    }

    /// A worker's session writes in transactions that say so, and nowhere else: if a BEGIN failed, what follows it in the same trip
    /// would take effect statement by statement.
    async fn connect_worker(&self) -> Result<Session, Absent> {
        let session = self.connect().await?;
        let ready = async {
            session.prepare_joined().await?;
            session.client.batch_execute("SET default_transaction_read_only = on").await
        };
        ready.await.map_err(|error| Absent::away(&error))?;
        Ok(session)
    }

    async fn session(&self, permit: OwnedSemaphorePermit) -> Result<Worker, Absent> {
        loop {
            let Some(session) = self.idle().pop() else { break };
            if !session.client.is_closed() {
                return Ok(self.as_worker(session, permit));
            }
        }
        Ok(self.as_worker(self.connect_worker().await?, permit))
    }

    fn as_worker(&self, session: Session, permit: OwnedSemaphorePermit) -> Worker {
        Worker { session: Some(session), permit: Some(permit), suspects: self.suspects.clone() }
    }

    /// Takes back a session that is in no transaction.
    pub(crate) fn give_back(&self, mut worker: Worker) {
        let Some(session) = worker.session.take() else { return };
        let mut idle = self.idle();
        // Sessions of readers come back too.
        if !session.client.is_closed() && idle.len() < self.connector.settings().workers {
            idle.push(session);
        }
    }

    /// Lets a worker's session go on as that of a reader, if there may be one more; another session may work in its place.
    pub(crate) fn to_reader(&self, worker: &mut Worker) -> bool {
        let permit = self.reading.clone().try_acquire_owned().ok();
        let there_may_be = permit.is_some();
        if there_may_be {
            worker.permit = permit;
        }
        there_may_be
    }

    /// Returns the number of readers that there may be yet.
    pub(crate) fn readers_left(&self) -> usize {
        self.reading.available_permits()
    }

    /// Returns the number of workers that are at work.
    pub(crate) fn working(&self) -> usize {
        self.connector.settings().workers.saturating_sub(self.working.available_permits())
    }

    /// Ends all suspects, and returns once they have ended.
    pub(crate) async fn end_suspects(&self) -> Result<(), ResourceError> {
        let broken = suspects(&self.suspects).clone();
        if broken.is_empty() {
            return Ok(());
        }
        let control = self.control().await?;
        for suspect in broken {
            let Some(ended) = crate::attempt::in_time(owner::terminate(&control, suspect)).await else {
                return Err(Absent::Silent.into());
            };
            match ended {
                Ok(true) => {
                    suspects(&self.suspects).remove(&suspect);
                }
                Ok(false) => {
                    let cause = format!("the session with pid {} does not end", suspect.pid);
                    return Err(ResourceError::Unclear { cause });
                }
                Err(error) => return Err(ResourceError::Unclear { cause: told(&error) }),
            }
        }
        Ok(())
    }

    /// Runs something on a committer.
    pub(crate) async fn committing<T, F>(&self, call: impl FnOnce(Arc<Session>) -> F) -> Result<T, Absent>
    where
        F: Future<Output = T>,
    {
        let _permit = self.piped.acquire().await.expect("the semaphore is never closed");
        let UnderWay(committer) = &self.least_busy();
        self.on_line(&committer.line, call).await
    }

    /// Runs what numbers events.
    pub(crate) async fn numbering<T, F>(&self, call: impl FnOnce(Arc<Session>) -> F) -> Result<T, Absent>
    where
        F: Future<Output = T>,
    {
        self.on_line(&self.numbering, call).await
    }

    /// Runs what reads events.
    pub(crate) async fn reading_events<T, F>(&self, call: impl FnOnce(Arc<Session>) -> F) -> Result<T, Absent>
    where
        F: Future<Output = T>,
    {
        self.on_line(&self.reading_events, call).await
    }

    async fn on_line<T, F>(&self, Line(line): &Line, call: impl FnOnce(Arc<Session>) -> F) -> Result<T, Absent>
    where
        F: Future<Output = T>,
    {
        let session = {
            let mut session = line.lock().await;
            match session.as_ref().filter(|session| !session.client.is_closed()) {
                Some(session) => session.clone(),
                None => session.insert(Arc::new(self.connect().await?)).clone(),
            }
        };
        let settings = self.connector.settings();
        let patience = COMMIT_PATIENCE + Duration::from_millis(settings.statement_timeout_ms);
        let backend = session.backend;
        match tokio::time::timeout(patience, call(session)).await {
            Ok(done) => Ok(done),
            Err(_) => {
                let mut session = line.lock().await;
                // Another call may have put a new one in its place.
                if session.as_ref().is_some_and(|silent| silent.backend == backend) {
                    *session = None;
                }
                suspects(&self.suspects).insert(backend);
                Err(Absent::Silent)
            }
        }
    }

    /// Returns the committer with the fewest calls under way, of several the first: a server's process that has just worked has in its caches
    /// what it needs.
    fn least_busy(&self) -> UnderWay<'_> {
        let busy = |committer: &&Committer| committer.under_way.load(Ordering::Relaxed);
        let committer = self.committers.iter().min_by_key(busy).expect("the settings ask for at least one");
        committer.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(committer)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().expect("the list of sessions is whole")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state is whole")
    }
}
