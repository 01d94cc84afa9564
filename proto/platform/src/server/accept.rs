//! The acceptance of connections: so many at a time, and none by force when the system has no room for more.

use super::calls::Calls;
use super::connection::Connection;
use super::exchange::Rooms;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

/// Connections that come in, in the order in which they do.
pub type Incoming = BoxStream<'static, io::Result<Connection>>;

/// Boxes what a listener accepts.
pub fn boxed<D: super::Duplex + 'static>(accepted: impl Stream<Item = io::Result<D>> + Send + 'static) -> Incoming {
    accepted.map(|connection| connection.map(Connection::over)).boxed()
}

/// Pause after the first accept that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A trouble is told once, and counts as over when it has not come back for so long.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Returns the connections that may be served: at most `max_connections` at a time, each given up if its client does not
/// greet within `greeting_timeout`.
///
/// One too many is closed at once, so that its client hears of it and tries again later, instead of waiting in silence.
/// When the system itself lets none in, accepting pauses with capped backoff. Both are logged when they begin and when
/// they are over.
pub(super) fn orderly(
    incoming: Incoming,
    max_connections: usize,
    greeting_timeout: Duration,
    rooms: Rooms,
    calls: Calls,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let max_connections = max_connections.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(max_connections));
    calls.bounded(&places, max_connections, &rooms);
    let door = Door {
        incoming,
        places,
        max_connections,
        greeting_timeout,
        rooms,
        calls,
        pause: FIRST_PAUSE,
        failing: Trouble::default(),
        crowded: Trouble::default(),
    };
    futures::stream::unfold(door, |mut door| async move { Some((Ok(door.next().await?), door)) })
}

struct Door {
    incoming: Incoming,
    places: Arc<Semaphore>,
    max_connections: usize,
    greeting_timeout: Duration,
    rooms: Rooms,
    calls: Calls,
    pause: Duration,
    failing: Trouble,
    crowded: Trouble,
}

impl Door {
    async fn next(&mut self) -> Option<Connection> {
        loop {
            let accepted = tokio::select! {
                accepted = self.incoming.next() => accepted?,
                () = self.failing.settled() => {
                    self.failing.over();
                    tracing::info!("connections are accepted again");
                    continue;
                }
                () = self.crowded.settled() => {
                    self.crowded.over();
                    tracing::info!("there is room for new connections again");
                    continue;
                }
            };
            match accepted {
                Ok(connection) => {
                    self.pause = FIRST_PAUSE;
                    match self.places.clone().try_acquire_owned() {
                        Ok(place) => return Some(connection.kept(place, self.greeting_timeout, self.rooms.parts())),
                        Err(_none_free) => self.turn_away(connection),
                    }
                }
                Err(error) if concerns_one(&error) => {
                    tracing::debug!(%error, "a client left before it was accepted");
                }
                Err(error) => self.rest(&error).await,
            }
        }
    }

    fn turn_away(&mut self, connection: Connection) {
        drop(connection);
        self.calls.turned_away();
        if self.crowded.again() {
            tracing::warn!(
                max_connections = self.max_connections,
                "all connections that may be open are: new ones are closed at once. Look who holds so many, or raise \
                 max_connections"
            );
        }
    }

    async fn rest(&mut self, error: &io::Error) {
        self.calls.not_accepted();
        if self.failing.again() {
            tracing::warn!(
                %error,
                "no connection can be accepted; what is open goes on, and accepting is tried again. If too many files \
                 are open, raise the limit (ulimit -n), or lower max_connections"
            );
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }
}

/// Returns true if it is the fault of the one connection, and the next may do.
fn concerns_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&error.kind())
}

/// A condition that comes back for a while and is told once.
#[derive(Default)]
struct Trouble(Option<Instant>);

impl Trouble {
    /// Notes that it is there, and returns whether that is news.
    fn again(&mut self) -> bool {
        self.0.replace(Instant::now() + SETTLED_AFTER).is_none()
    }

    fn over(&mut self) {
        self.0 = None;
    }

    /// Waits until it has not come back for a while.
    async fn settled(&self) {
        match self.0 {
            Some(when) => sleep_until(when).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    const FOREVER: Duration = Duration::from_secs(1 << 30);

    fn listener(accepts: impl FnMut() -> io::Result<DuplexStream> + Send + 'static) -> Incoming {
        boxed(futures::stream::repeat_with(accepts))
    }

    /// Lets connections in, one at a time.
    fn let_in(incoming: Incoming) -> impl Stream<Item = io::Result<Connection>> + Send {
        orderly(incoming, 1, FOREVER, Rooms::new(1, 1), Calls::default())
    }

    fn full() -> io::Error {
        io::Error::from_raw_os_error(24)
    }

    #[tokio::test(start_paused = true)]
    async fn while_none_can_be_accepted_it_is_tried_once_a_second_and_not_without_end() {
        let attempts = Arc::new(Mutex::new(0_u32));
        let counted = attempts.clone();
        let incoming = listener(move || {
            let mut attempts = counted.lock().unwrap();
            *attempts += 1;
            if *attempts < 50 { Err(full()) } else { Ok(duplex(1).0) }
        });
        let began = Instant::now();
        let mut accepted = Box::pin(let_in(incoming));
        assert!(accepted.next().await.unwrap().is_ok(), "it goes on once there is room");
        assert_eq!(*attempts.lock().unwrap(), 50);
        assert!(began.elapsed() > 40 * MAX_PAUSE, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_left_too_early_holds_up_nobody() {
        let mut first = true;
        let incoming = listener(move || match std::mem::take(&mut first) {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(duplex(1).0),
        });
        let began = Instant::now();
        Box::pin(let_in(incoming)).next().await.unwrap().unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_too_many_is_closed_at_once_and_a_place_that_is_left_is_taken() {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let receiver = futures::stream::unfold(receiver, |mut all| async { Some((all.recv().await?, all)) });
        let mut accepted = Box::pin(let_in(boxed(receiver.map(Ok))));
        let (first, _client) = duplex(1);
        sender.send(first).unwrap();
        let kept = accepted.next().await.unwrap().unwrap();
        let (second, mut turned_away) = duplex(1);
        sender.send(second).unwrap();
        tokio::select! {
            _ = accepted.next() => panic!("it was let in"),
            closed = async { while turned_away.write_all(b"x").await.is_ok() {} } => closed,
        }
        drop(kept);
        let (third, _client) = duplex(1);
        sender.send(third).unwrap();
        accepted.next().await.unwrap().unwrap();
    }
}
