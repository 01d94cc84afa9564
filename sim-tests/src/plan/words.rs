//! Faults in words.

use super::{
    Backward, Breaker, Copied, Direction, Fault, HowEnded, HowResolved, IDLE, Message, Shape, Tampering, Trips, What,
    When,
};
use std::fmt;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.when, self.what)
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::At { ms } => write!(f, "at {}.{:03} s", ms / 1_000, ms % 1_000),
            When::Point { host, point, count, during } => {
                match count {
                    1 => write!(f, "when {host} first reaches {point}")?,
                    _ => write!(f, "when {host} reaches {point} for the {} time", ordinal(*count))?,
                }
                match during.as_deref() {
                    None => Ok(()),
                    Some(IDLE) => f.write_str(" while nothing is under way there"),
                    Some(state) => write!(f, " while something there is {state}"),
                }
            }
        }
    }
}

fn ordinal(count: u32) -> String {
    let ending = match (count % 100, count % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        (_, _) => "th",
    };
    format!("{count}{ending}")
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Crash { host, power: false, down_ms } => write!(f, "{host} crashes and is back after {down_ms} ms"),
            What::Crash { host, power: true, down_ms } => {
                write!(f, "{host} loses power and is back after {down_ms} ms")
            }
            What::Gone { host } => write!(f, "{host} crashes for good"),
            What::Pause { host, for_ms } => write!(f, "{host} is paused for {for_ms} ms"),
            What::Takeover { zombie_after_ms } => {
                write!(
                    f,
                    "the coordinator is paused, the standby takes over, and after {zombie_after_ms} ms it goes on"
                )
            }
            What::Partition { from, to, one_way: true, for_ms } => {
                write!(f, "nothing passes from {from} to {to} for {for_ms} ms")
            }
            What::Partition { from, to, one_way: false, for_ms } => {
                write!(f, "nothing passes between {from} and {to} for {for_ms} ms")
            }
            What::Clog { from, to, for_ms } => {
                write!(f, "what {from} and {to} send each other is held for {for_ms} ms")
            }
            What::Tamper { participant, direction, message, count, tampering } => {
                let way = match direction {
                    Direction::ToParticipant => "to",
                    Direction::ToCoordinator => "from",
                };
                write!(f, "{message} number {count} {way} p{participant} {tampering}")
            }
            What::LyingSyncs { host, for_ms } => {
                write!(f, "the disk of {host} lies about syncs for {for_ms} ms, then the power fails")
            }
            What::SyncFails { host } => write!(f, "the next sync of {host} fails"),
            What::RolledBack { host, frames } => {
                write!(f, "{host} loses power and the last {frames} stable writes of its disk")
            }
            What::BitFlip { host, at_permille, repaired_after_ms } => write!(
                f,
                "{host} crashes and finds a bit flipped at {at_permille} permille of its log, for {repaired_after_ms} ms"
            ),
            What::DiskFull { host, for_ms } => write!(f, "the disk of {host} is full for {for_ms} ms"),
            What::ReadOnlyDisk { host, for_ms } => write!(f, "the disk of {host} is read-only for {for_ms} ms"),
            What::DiskAway { host, for_ms } => write!(f, "the disk of {host} takes no writes for {for_ms} ms"),
            What::Unclear { participant, for_ms } => {
                write!(f, "the resource of p{participant} loses some of its answers for {for_ms} ms")
            }
            What::ReadersForgotten { participant, for_ms } => {
                write!(f, "the resource of p{participant} loses the locks of branches that read for {for_ms} ms")
            }
            What::ServiceTroubled { participant, for_ms } => {
                write!(f, "the service of p{participant} answers slowly, badly or not at all for {for_ms} ms")
            }
            What::SessionsCut { participant, for_ms } => {
                write!(f, "the database of p{participant} loses some of its connections for {for_ms} ms")
            }
            What::OtherHand { participant, commit } => {
                let what = if *commit { "commits" } else { "aborts" };
                write!(f, "somebody else {what} the oldest prepared branch in the resource of p{participant} itself")
            }
            What::Impostor { participant } => write!(f, "a stranger says to p{participant} that it is the coordinator"),
            What::SlowDisk { host, sync_ms, for_ms } => {
                write!(f, "a sync of {host} takes {sync_ms} ms or more for {for_ms} ms")
            }
            What::PutBack { host, copy: Copied::Emptied, after_ms } => {
                write!(f, "the disk of {host} is emptied {after_ms} ms later")
            }
            What::PutBack { host, copy, after_ms } => {
                let copy = match copy {
                    Copied::Hot => "copied while it runs",
                    Copied::Cold => "copied between two starts",
                    Copied::Snapshot | Copied::Emptied => "kept as a snapshot",
                };
                write!(f, "the disk of {host} is {copy}, and that is put back {after_ms} ms later")
            }
            What::Wiped { host } => write!(f, "{host} crashes and finds an empty disk"),
            What::Swapped { host, with, repaired_after_ms } => {
                write!(f, "{host} and {with} crash and find each other's disks for {repaired_after_ms} ms")
            }
            What::VoteLost { participant } => write!(f, "p{participant} crashes and has lost a vote it gave"),
            What::Poisoned => {
                write!(f, "the coordinator crashes and finds one of its open transactions impossible to carry out")
            }
            What::Clock { host, by_ms } => write!(f, "the clock of {host} jumps by {by_ms} ms"),
            What::Resolve { participant, commit } => {
                let what = if *commit { "commits" } else { "aborts" };
                write!(f, "an operator {what} the oldest branch in doubt at p{participant}")
            }
            What::CompensationsRefused { participant, for_ms } => {
                write!(f, "p{participant} refuses to compensate anything for {for_ms} ms")
            }
            What::ActionsRefused { participant, for_ms } => {
                write!(f, "p{participant} refuses every action for {for_ms} ms")
            }
            What::SlowPrepares { participant, by_ms, for_ms } => {
                write!(f, "p{participant} takes {by_ms} ms longer to prepare for {for_ms} ms")
            }
            What::LateSource { participant, from, by_ms, for_ms } => {
                write!(f, "what p{participant} reads of the log of p{from} comes {by_ms} ms later for {for_ms} ms")
            }
            What::ReactionsRefused { participant, for_ms } => {
                write!(f, "p{participant} refuses the work of its reactions for {for_ms} ms")
            }
            What::SlowReactions { participant, by_ms, for_ms } => {
                write!(f, "p{participant} takes {by_ms} ms over each event that it reacts to for {for_ms} ms")
            }
            What::UnknownSchema => write!(f, "the beginning of a trip is published in a form that nobody knows"),
            What::SlowReader { reader, by_ms, for_ms } => {
                write!(f, "reader{reader} takes {by_ms} ms over each batch of events for {for_ms} ms")
            }
            What::ResolveStuck { how: HowResolved::Retry } => write!(f, "an operator has every stuck step tried again"),
            What::ResolveStuck { how: HowResolved::Skip } => write!(f, "an operator passes over every stuck step"),
            What::ResolveStuck { how: HowResolved::Done } => {
                write!(f, "an operator says that every stuck step is done")
            }
            What::EndSaga { how: HowEnded::Skip } => write!(f, "an operator skips all that the oldest saga has to do"),
            What::EndSaga { how: HowEnded::Done } => {
                write!(f, "an operator says that all is done that the oldest saga has to do")
            }
            What::EndSaga { how: HowEnded::Forget } => write!(f, "an operator gives up on the oldest saga"),
            What::ReleaseMarks { participant } => {
                write!(f, "an operator releases a saga's semantic locks at p{participant}")
            }
            What::Forget => write!(f, "an operator gives up on the oldest transaction that is not acknowledged"),
        }
    }
}

impl Shape {
    /// Returns what is unusual about its servers from the start; one sentence each.
    pub fn peculiarities(&self) -> Vec<String> {
        let unable = self.cannot_prepare.map(|number| format!("p{number} cannot prepare"));
        let breaker = self.breaker.map(|Breaker { threshold, pause_ms }| {
            format!("auto spares whoever has let {threshold} transactions wait, for {pause_ms} ms")
        });
        let large = (self.value_bytes > 0).then(|| {
            let Shape { value_bytes, large_reads_percent, .. } = self;
            format!(
                "values have {value_bytes} bytes, and {large_reads_percent} % of the transactions read many of them"
            )
        });
        let reads = (self.value_bytes == 0 && self.large_reads_percent > 0)
            .then(|| format!("{} % of the transactions read many values", self.large_reads_percent));
        let small = self
            .max_write_bytes
            .map(|bytes| format!("the coordinator's store takes at most {bytes} bytes in one write"));
        let gathered = self
            .max_gathered_bytes
            .map(|bytes| format!("the coordinator gathers at most {bytes} bytes of what branches hand back"));
        let databases = self.databases.iter().map(|number| format!("p{number} stands in front of a database"));
        let slots = self.prepared_slots.map(|slots| format!("a database keeps at most {slots} prepared transactions"));
        let services = self.services.iter().map(|number| format!("p{number} calls an HTTP service"));
        let readers = (self.readers > 0)
            .then(|| format!("participants publish an event of each change, which {} hosts read", self.readers));
        let views = self.views.then(|| "each of them keeps a view of what the next one changes".to_owned());
        let trips = self.trips.as_ref().map(|trips| {
            let Trips { steps, backward, expire_ms, seats, percent, alone: _ } = trips;
            let expire = expire_ms.map_or_else(String::new, |ms| format!(" after {ms} ms at the latest"));
            let backward = match backward {
                Backward::Chain => "each hears of the one behind it",
                Backward::Broadcast => "all hear of a refusal",
            };
            format!(
                "{percent} % of the work at p1 begin a choreographed trip over {steps} participants with {seats} seats each, which is \
                 undone{expire}: {backward}"
            )
        });
        let databases = databases.chain(slots).chain(services).chain(readers).chain(views).chain(trips);
        unable
            .into_iter()
            .chain(databases)
            .chain(breaker)
            .chain(large)
            .chain(reads)
            .chain(small)
            .chain(gathered)
            .collect()
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tampering::Duplicate { after_ms } => write!(f, "arrives again {after_ms} ms later"),
            Tampering::Delay { by_ms } => write!(f, "arrives {by_ms} ms late"),
            Tampering::Lost => write!(f, "is lost, and its connection with it"),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Message::Prepare => "prepare",
            Message::Confirm => "confirm",
            Message::Commit => "commit",
            Message::Abort => "abort",
            Message::Settle => "settle",
            Message::Act => "act",
            Message::Compensate => "compensate",
            Message::Close => "close",
            Message::Vote => "vote",
            Message::Confirmed => "confirmed",
            Message::Finished => "finished",
            Message::Inquiry => "inquiry",
            Message::Acted => "acted",
            Message::Compensated => "compensated",
            Message::Closed => "closed",
        })
    }
}
