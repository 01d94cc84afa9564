//! The sessions of a running participant: one for control, workers with a lease each, and committers, whose requests wait for no
//! lock.
//!
//! A worker that is not given back in good order is a suspect: the server may still work on it. Nothing is said of what it was
//! asked before it has ended.

use crate::plan::{Host, Mutant};
use crate::world::database::wire::{Answer, Line, Owner, Request, SessionId};
use crate::world::net::Network;
use crate::world::shared_state::Shared;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{MutexGuard as AsyncGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use undoubt_participant::resource::ResourceError;

/// The time for which an answer is waited for.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_millis(2_500);

const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

/// An owner that says nothing for so long is taken for gone.
const SILENCE: Duration = Duration::from_millis(4_000);

/// The time in which sessions of an earlier process have to end once they are told.
const FENCE_PATIENCE: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(50);

const WORKERS: usize = 8;

const READERS: usize = 8;

const COMMITTERS: usize = 3;

/// The reason why there is no session. Nothing happened.
#[derive(Clone, Debug)]
pub(super) enum Absent {
    Away(String),
    Fenced(String),
}

impl From<Absent> for ResourceError {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Away(cause) => ResourceError::Unavailable { cause },
            Absent::Fenced(cause) => ResourceError::Fenced { cause },
        }
    }
}

/// No answer came, or will.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silent;

impl From<Silent> for ResourceError {
    fn from(_: Silent) -> Self {
        ResourceError::Unclear { cause: "the connection broke before the answer came".to_owned() }
    }
}

/// The client's end of a session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    line: Line,
    is_broken: bool,
}

impl Session {
    /// Sends all before it waits for any answer. Fewer answers than requests: the session broke after them.
    pub(super) async fn trip(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        // Whoever drops this midway leaves answers that nobody waits for.
        let was_broken = std::mem::replace(&mut self.is_broken, true);
        let (count, mut answers) = (requests.len(), Vec::new());
        if was_broken {
            return answers;
        }
        for request in requests {
            // What cannot be sent is not answered either.
            let _ = self.line.ask(request).await;
        }
        while answers.len() < count {
            let Some(answer) = self.line.answered().await else { return answers };
            answers.push(answer);
        }
        self.is_broken = false;
        answers
    }

    /// Asks something that takes no time.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Answer, Silent> {
        let answers = timeout(ANSWER_PATIENCE, self.trip(vec![request])).await;
        answers.ok().and_then(|mut answers| answers.pop()).ok_or(Silent)
    }

    async fn is_granted(&mut self, request: Request) -> Result<bool, Silent> {
        let Answer::Yes(granted) = self.ask(request).await? else { return Err(Silent) };
        Ok(granted)
    }
}

/// A session for one branch or step. Dropped before it is given back, it broke, or what it was asked was given up midway.
#[derive(Debug)]
pub(super) struct Worker {
    session: Option<Session>,
    permit: Option<OwnedSemaphorePermit>,
    suspects: Suspects,
}

/// The sessions of which nobody knows what they do.
type Suspects = Arc<Mutex<BTreeSet<SessionId>>>;

impl Worker {
    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is taken only when the worker is given back")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            lock(&self.suspects).insert(session.id);
        }
    }
}

#[derive(Debug)]
pub(super) struct Sessions {
    shared: Arc<Shared>,
    network: Network,
    database: Host,
    control: tokio::sync::Mutex<Control>,
    committers: Vec<tokio::sync::Mutex<Option<Session>>>,
    next_committer: Mutex<usize>,
    working: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    suspects: Suspects,
    away: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Control {
    session: Option<Session>,
    former: Option<SessionId>,
    /// The recovery is over: it may be connected anew.
    is_owner: bool,
}

impl Sessions {
    pub(super) fn new(shared: Arc<Shared>, network: Network, number: u8) -> Sessions {
        Sessions {
            shared,
            network,
            database: Host::Database(number),
            control: tokio::sync::Mutex::default(),
            committers: (0..COMMITTERS).map(|_| tokio::sync::Mutex::default()).collect(),
            next_committer: Mutex::default(),
            working: Arc::new(Semaphore::new(WORKERS)),
            reading: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::default(),
            suspects: Suspects::default(),
            away: Mutex::default(),
        }
    }

    /// Returns why there is no session, while there is none.
    pub(super) fn away(&self) -> Option<String> {
        lock(&self.away).clone()
    }

    /// Takes the database over from all earlier processes: none of their sessions does anything any more.
    pub(super) async fn take_over(&self) -> Result<(), Absent> {
        let mut control = self.control.lock().await;
        *control = Control::default();
        for committer in &self.committers {
            *committer.lock().await = None;
        }
        lock(&self.idle).clear();
        let mut session = self.connect().await?;
        own(&mut session).await?;
        if !self.shared.mutates(Mutant::FenceForgotten) {
            fence(&mut session).await?;
        }
        // The fence has ended them.
        lock(&self.suspects).clear();
        *control = Control { session: Some(session), former: None, is_owner: true };
        Ok(())
    }

    /// Returns the control session, connected anew if it broke.
    pub(super) async fn control(&self) -> Result<AsyncGuard<'_, Control>, Absent> {
        let mut control = self.control.lock().await;
        if control.session.as_ref().is_some_and(|session| !session.is_broken) {
            return Ok(control);
        }
        if !control.is_owner {
            return Err(Absent::Away("the recovery is not over yet".to_owned()));
        }
        if let Some(broken) = control.session.take() {
            control.former = Some(broken.id);
        }
        let mut session = self.connect().await?;
        if let Some(former) = control.former {
            session.is_granted(Request::Terminate(former)).await.map_err(|Silent| silent())?;
        }
        own(&mut session).await?;
        control.former = None;
        control.session = Some(session);
        Ok(control)
    }

    async fn connect(&self) -> Result<Session, Absent> {
        let connected = timeout(CONNECT_PATIENCE, async {
            let stream = self.network.connect(&self.database.to_string()).await.ok()?;
            let mut line = Line::new(stream, self.shared.clone());
            let Answer::Welcome(id) = line.answered().await? else { return None };
            Some(Session { id, line, is_broken: false })
        });
        let connected = connected.await.ok().flatten();
        let away = connected.is_none().then(|| format!("{} is not reached", self.database));
        lock(&self.away).clone_from(&away);
        connected.ok_or_else(|| Absent::Away(away.unwrap_or_default()))
    }

    /// Connects a session that works. It has its lease before it is handed out.
    async fn connect_leased(&self) -> Result<Session, Absent> {
        let mut session = self.connect().await?;
        if self.shared.mutates(Mutant::LeaseForgotten) {
            return Ok(session);
        }
        match session.is_granted(Request::TakeLease).await {
            Ok(true) => Ok(session),
            Ok(false) => Err(Absent::Away("another process is taking the database over".to_owned())),
            Err(Silent) => Err(silent()),
        }
    }

    /// Returns a session for work, once one is free.
    pub(super) async fn worker(&self) -> Result<Worker, Absent> {
        let permit = self.working.clone().acquire_owned().await.expect("the semaphore is never closed");
        let session = match self.idle_session() {
            Some(session) => session,
            None => self.connect_leased().await?,
        };
        Ok(Worker { session: Some(session), permit: Some(permit), suspects: self.suspects.clone() })
    }

    /// Those that have broken meanwhile were asked nothing.
    fn idle_session(&self) -> Option<Session> {
        let mut idle = lock(&self.idle);
        std::iter::from_fn(|| idle.pop()).find_map(|mut session| (!session.line.is_cut()).then_some(session))
    }

    /// Takes back a session that is in no transaction.
    pub(super) fn give_back(&self, mut worker: Worker) {
        let Some(session) = worker.session.take() else { return };
        if session.is_broken {
            lock(&self.suspects).insert(session.id);
        } else {
            lock(&self.idle).push(session);
        }
    }

    /// Lets a worker's session go on as that of a reader, if there may be one more.
    pub(super) fn to_reader(&self, worker: &mut Worker) -> bool {
        let permit = self.reading.clone().try_acquire_owned().ok();
        let there_may_be = permit.is_some();
        if there_may_be {
            worker.permit = permit;
        }
        there_may_be
    }

    /// Ends all suspects, and returns once they have ended.
    pub(super) async fn end_suspects(&self) -> Result<(), ResourceError> {
        let broken = lock(&self.suspects).clone();
        if broken.is_empty() {
            return Ok(());
        }
        let mut control = self.control().await?;
        for suspect in broken {
            match control.session().is_granted(Request::Terminate(suspect)).await {
                Ok(true) => drop(lock(&self.suspects).remove(&suspect)),
                Ok(false) => return Err(ResourceError::Unclear { cause: format!("{suspect:?} does not end") }),
                Err(silent) => return Err(silent.into()),
            }
        }
        Ok(())
    }

    /// Asks something that waits for no lock.
    pub(super) async fn committing(&self, request: Request) -> Result<Answer, ResourceError> {
        let place = {
            let mut next = lock(&self.next_committer);
            *next += 1;
            *next % COMMITTERS
        };
        let mut committer = self.committers[place].lock().await;
        if committer.as_mut().is_none_or(|session| session.is_broken || session.line.is_cut()) {
            *committer = None;
            *committer = Some(self.connect_leased().await?);
        }
        let session = committer.as_mut().expect("it has just been connected, if it had to be");
        let id = session.id;
        let answer = session.ask(request).await;
        if answer.is_err() {
            *committer = None;
            lock(&self.suspects).insert(id);
        }
        Ok(answer?)
    }
}

impl Control {
    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("who has it has connected it")
    }
}

/// Takes the lock of who owns the database.
async fn own(session: &mut Session) -> Result<(), Absent> {
    let deadline = Instant::now() + SILENCE + FENCE_PATIENCE;
    let mut silent_us = 0;
    loop {
        let Ok(Answer::Owner(owner)) = session.ask(Request::TakeOwnership).await else { return Err(silent()) };
        let Some(Owner { session: holder, silent_us: now_us }) = owner else { return Ok(()) };
        if Duration::from_micros(now_us) > SILENCE {
            session.is_granted(Request::Terminate(holder)).await.map_err(|Silent| silent())?;
        } else if now_us < silent_us || Instant::now() > deadline {
            return Err(Absent::Fenced(format!("{holder:?} owns the database, and speaks")));
        }
        silent_us = now_us;
        sleep(POLL).await;
    }
}

/// Ends all sessions that hold a lease, and lets new ones take one.
async fn fence(session: &mut Session) -> Result<(), Absent> {
    let deadline = Instant::now() + FENCE_PATIENCE;
    while !session.is_granted(Request::TakeAllLeases).await.map_err(|Silent| silent())? {
        let Ok(Answer::Sessions(holders)) = session.ask(Request::Leaseholders).await else { return Err(silent()) };
        for holder in holders {
            session.is_granted(Request::Terminate(holder)).await.map_err(|Silent| silent())?;
        }
        if Instant::now() > deadline {
            return Err(Absent::Away("sessions of an earlier process do not end".to_owned()));
        }
    }
    session.ask(Request::FreeLeases).await.map_err(|Silent| silent())?;
    Ok(())
}

fn silent() -> Absent {
    Absent::Away("the database did not answer in time".to_owned())
}

/// Locks a mutex. Nothing between taking and freeing these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
