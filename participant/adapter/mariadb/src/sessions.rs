//! The sessions of a running participant.
//!
//! * One for control: it owns the database, ends and calls off others.
//! * Recorders, which many share: they keep records, and end what has no session of its own any more.
//! * One that numbers events, and one that reads them for others.
//! * Workers, each for one branch or step at a time; a branch that is prepared keeps its own, which becomes a slot, until it is
//!   decided: the server lets nobody else end it.
//!
//! A session that broke while something was under way is a suspect: the server may still work on it. Nothing is said of what it
//! was asked before it has ended.

use crate::connect::{Absent, Connector};
use crate::owner::{self, Keys};
use crate::session::{Backend, Session};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{MappedMutexGuard, OwnedSemaphorePermit, Semaphore};
use undoubt_participant::resource::ResourceError;
use undoubt_sql::Identity;

/// Sessions of which there is one each: for control, for numbering events and for reading them.
pub(crate) const SINGLE: usize = 3;

/// Sessions for records.
pub(crate) const RECORDERS: usize = 4;

/// The facts of this process's hold on the database, known once it owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) identity: Identity,
    pub(crate) run: u64,
    /// The name that the server gives itself.
    pub(crate) server: String,
}

impl Hold {
    pub(crate) fn keys(&self) -> Keys {
        Keys(self.identity)
    }
}

type Shareable = tokio::sync::Mutex<Option<Session>>;

/// A session that nobody else has meanwhile.
pub(crate) type Borrowed<'a> = MappedMutexGuard<'a, Session>;

#[derive(Debug)]
pub(crate) struct Sessions {
    connector: Connector,
    control: Shareable,
    positions: Shareable,
    events: Shareable,
    recorders: [Shareable; RECORDERS],
    next_recorder: AtomicUsize,
    working: Arc<Semaphore>,
    preparing: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    next_lease: AtomicUsize,
    /// Held by whoever compares runs, and alone by whoever begins another.
    numbering: tokio::sync::RwLock<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hold: Option<Hold>,
    suspects: BTreeSet<Backend>,
    /// The control session was connected anew, and nobody has looked yet at what may have changed meanwhile.
    is_anew: bool,
    /// The reason why there is no new session, since the last one was there.
    away: Option<String>,
}

/// A session for one branch or step.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) session: Session,
    permit: OwnedSemaphorePermit,
}

impl Sessions {
    pub(crate) fn new(connector: Connector) -> Sessions {
        let settings = connector.settings();
        Sessions {
            control: Shareable::default(),
            positions: Shareable::default(),
            events: Shareable::default(),
            recorders: Default::default(),
            next_recorder: AtomicUsize::new(0),
            working: Arc::new(Semaphore::new(settings.workers)),
            preparing: Arc::new(Semaphore::new(settings.slots)),
            reading: Arc::new(Semaphore::new(settings.max_readers)),
            idle: Mutex::default(),
            next_lease: AtomicUsize::new(0),
            numbering: tokio::sync::RwLock::default(),
            state: Mutex::default(),
            connector,
        }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Takes the database: this process owns it from now on.
    pub(crate) async fn begin(&self, control: Session, hold: Hold) {
        *self.control.lock().await = Some(control);
        let mut state = self.state();
        state.hold = Some(hold);
        state.suspects.clear();
        state.away = None;
    }

    /// Gives up all sessions: as before the first recovery.
    pub(crate) async fn end(&self) {
        let mut ending: Vec<Session> = std::mem::take(&mut *self.idle());
        for recorder in self.recorders.iter().chain([&self.positions, &self.events]) {
            ending.extend(recorder.lock().await.take());
        }
        ending.extend(self.control.lock().await.take());
        for session in ending {
            session.close().await;
        }
    }

    pub(crate) fn hold(&self) -> Result<Hold, Absent> {
        self.state().hold.clone().ok_or_else(|| Absent::Away("the recovery is not over yet".to_owned()))
    }

    /// Returns why there is no session, while there is none.
    pub(crate) fn away(&self) -> Option<String> {
        self.state().away.clone()
    }

    pub(crate) fn suspects(&self) -> usize {
        self.state().suspects.len()
    }

    /// Returns the control session, connected anew if it broke.
    pub(crate) async fn control(&self) -> Result<Borrowed<'_>, Absent> {
        let mut control = self.control.lock().await;
        if control.as_ref().is_none_or(Session::is_broken) {
            let former = control.take().map(|session| session.backend.clone());
            *control = Some(self.note(self.connect_control(former).await)?);
            self.state().is_anew = true;
        }
        Ok(borrowed(control))
    }

    /// Returns true once after the control session was connected anew.
    pub(crate) fn take_anew(&self) -> bool {
        std::mem::take(&mut self.state().is_anew)
    }

    /// Notes that the look at what may have changed was not to the end.
    pub(crate) fn look_again(&self) {
        self.state().is_anew = true;
    }

    /// Connects the control session anew. The database has to be what it was, and still be owned by this process.
    async fn connect_control(&self, former: Option<Backend>) -> Result<Session, Absent> {
        let hold = self.hold()?;
        let mut session = self.connector.connect().await?;
        check_same(&mut session, &hold).await?;
        if let Some(former) = former {
            owner::terminate(&mut session, &former).await?;
        }
        owner::take(&mut session, hold.keys(), false).await?;
        // Who has taken over in between has counted its run before it gave the lock back.
        check_same(&mut session, &hold).await?;
        Ok(session)
    }

    /// Returns a session for records.
    pub(crate) async fn recorder(&self) -> Result<Borrowed<'_>, Absent> {
        let place = self.next_recorder.fetch_add(1, Ordering::Relaxed) % RECORDERS;
        self.shared(&self.recorders[place]).await
    }

    /// Returns the session that numbers events.
    pub(crate) async fn positions(&self) -> Result<Borrowed<'_>, Absent> {
        self.shared(&self.positions).await
    }

    /// Returns the session that reads events.
    pub(crate) async fn events(&self) -> Result<Borrowed<'_>, Absent> {
        self.shared(&self.events).await
    }

    async fn shared<'a>(&self, place: &'a Shareable) -> Result<Borrowed<'a>, Absent> {
        let mut session = place.lock().await;
        if session.as_ref().is_none_or(Session::is_broken) {
            *session = Some(self.connect().await?);
        }
        Ok(borrowed(session))
    }

    /// Connects a session that works. It has its lease before it is handed out.
    async fn connect(&self) -> Result<Session, Absent> {
        let connected = async {
            let mut session = self.connector.connect().await?;
            let _numbering = self.numbering.read().await;
            let hold = self.hold()?;
            self.lease(&mut session, &hold).await?;
            check_same(&mut session, &hold).await?;
            Ok(session)
        };
        self.note(connected.await)
    }

    /// Takes the next lease that is free.
    async fn lease(&self, session: &mut Session, hold: &Hold) -> Result<(), Absent> {
        let leases = leases(self.connector.settings().most_sessions());
        for _ in 0..leases {
            let number = self.next_lease.fetch_add(1, Ordering::Relaxed) % leases;
            if owner::lease(session, hold.keys(), number).await? {
                return Ok(());
            }
        }
        Err(Absent::Away(format!(
            "all {leases} leases are taken by sessions that have not ended yet; it is tried again"
        )))
    }

    /// Keeps sessions from comparing runs, while another one is begun.
    pub(crate) async fn renumber(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.numbering.write().await
    }

    /// Notes that the process goes on under the number of another run.
    pub(crate) fn set_run(&self, run: u64) {
        if let Some(hold) = &mut self.state().hold {
            hold.run = run;
        }
    }

    fn note(&self, connected: Result<Session, Absent>) -> Result<Session, Absent> {
        let away = match &connected {
            Ok(_) => None,
            Err(Absent::Away(why) | Absent::Fenced(why) | Absent::Foreign(why)) => Some(why.clone()),
        };
        self.state().away = away;
        connected
    }

    /// Returns a session for work in one phase or of a saga, once one is free.
    pub(crate) async fn worker(&self) -> Result<Worker, Absent> {
        let permit = self.working.clone().acquire_owned().await.expect("the semaphore is never closed");
        self.session(permit).await
    }

    /// Returns a session for a branch that is to be prepared, once one is free.
    pub(crate) async fn slot(&self) -> Result<Worker, Absent> {
        let permit = self.preparing.clone().acquire_owned().await.expect("the semaphore is never closed");
        self.session(permit).await
    }

    /// Returns a session for a branch that reads and waits for its end; `None` if there are as many as there may be.
    pub(crate) async fn reader(&self) -> Result<Option<Worker>, Absent> {
        match self.reading.clone().try_acquire_owned() {
            Ok(permit) => self.session(permit).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn session(&self, permit: OwnedSemaphorePermit) -> Result<Worker, Absent> {
        loop {
            let Some(session) = self.idle().pop() else { break };
            if !session.is_broken() {
                return Ok(Worker { session, permit });
            }
        }
        Ok(Worker { session: self.connect().await?, permit })
    }

    /// Takes back a session that is in no transaction.
    pub(crate) fn give_back(&self, worker: Worker) {
        let Worker { session, permit } = worker;
        if !session.is_broken() {
            self.idle().push(session);
        }
        drop(permit);
    }

    /// Returns the numbers of sessions at work, of slots that are free, and of readers that there may be yet.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        let working = self.connector.settings().workers.saturating_sub(self.working.available_permits());
        [
            ("sessions_working", working as u64),
            ("prepared_slots_left", self.preparing.available_permits() as u64),
            ("readers_left", self.reading.available_permits() as u64),
        ]
    }

    /// Remembers a session of which nobody knows what it does.
    pub(crate) fn suspect(&self, worker: Worker) {
        let backend = worker.session.backend.clone();
        tracing::warn!(
            id = backend.id,
            "a session broke while something was under way; it is ended before anything is said of it"
        );
        self.state().suspects.insert(backend);
        // What has ended one may have ended all, and those that wait here would tell only when they are used.
        self.idle().clear();
    }

    /// Ends all suspects, and returns once they have ended.
    pub(crate) async fn end_suspects(&self) -> Result<(), ResourceError> {
        let suspects = self.state().suspects.clone();
        if suspects.is_empty() {
            return Ok(());
        }
        let mut control = self.control().await?;
        for suspect in suspects {
            match owner::terminate(&mut control, &suspect).await {
                Ok(true) => {
                    self.state().suspects.remove(&suspect);
                }
                Ok(false) => {
                    return Err(ResourceError::Unclear { cause: format!("the session {} does not end", suspect.id) });
                }
                Err(absent) => return Err(absent.into()),
            }
        }
        Ok(())
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().expect("the list of sessions is whole")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state is whole")
    }
}

/// Returns the number of leases for so many sessions: some are still taken by sessions that are about to end.
pub(crate) fn leases(most_sessions: usize) -> usize {
    2 * most_sessions
}

fn borrowed(session: tokio::sync::MutexGuard<'_, Option<Session>>) -> Borrowed<'_> {
    tokio::sync::MutexGuard::map(session, |session| session.as_mut().expect("it was just connected"))
}

async fn check_same(session: &mut Session, hold: &Hold) -> Result<(), Absent> {
    let away = |error: mysql_async::Error| Absent::away(&error);
    let rows =
        session.rows("SELECT id, (SELECT MAX(number) FROM undoubt_run) FROM undoubt_identity").await.map_err(away)?;
    let Some(row) = rows.first() else {
        return Err(Absent::Foreign("the table undoubt_identity is empty".to_owned()));
    };
    let id: Vec<u8> = row.get(0).unwrap_or_default();
    let run: Option<u64> = row.get(1).unwrap_or_default();
    if id != hold.identity.0 || server_of(session).await.map_err(away)? != hold.server {
        return Err(Absent::Foreign("another database is under the same address now".to_owned()));
    }
    match run {
        Some(run) if run == hold.run => Ok(()),
        Some(run) if run > hold.run => {
            Err(Absent::Fenced(format!("run {run} has taken the database over from this one, {}", hold.run)))
        }
        Some(_) | None => {
            let cause =
                format!("the database does not know run {} any more: it was put back to an earlier state", hold.run);
            Err(Absent::Foreign(cause))
        }
    }
}

/// Returns the name that a server gives itself: MariaDB has a `server_uid`, MySQL a `server_uuid`.
pub(crate) async fn server_of(session: &mut Session) -> Result<String, mysql_async::Error> {
    let rows = session.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uid', 'server_uuid')").await?;
    Ok(rows.first().and_then(|row| row.get(1)).unwrap_or_default())
}
