//! The bytes that open transactions hold in memory, and the bounds of these (R9, R13).

use crate::effect::Rejection;
use undoubt_vocabulary::limits::{MAX_RESULT_BYTES, MAX_TRANSACTION_RESULT_BYTES};
use undoubt_vocabulary::{Refusal, RefusalCode};

/// The bytes that one transaction holds, or all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// The bytes of the work as it was submitted, compensations included.
    pub(crate) work_bytes: usize,
    /// The results of branches and steps.
    pub(crate) result_bytes: usize,
    /// The bytes of results whose transaction's decision or end is being recorded: what is about to be let go.
    pub(crate) leaving_bytes: usize,
    /// Open sagas that take steps.
    pub(crate) begun: usize,
}

/// The room that all open transactions share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Room {
    held: Held,
    max_open_bytes: usize,
    max_gathered_bytes: usize,
}

/// The reason why a result is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// The result, or all that its transaction gathers, is over a limit.
    TooLarge(Refusal),
    /// The transactions together have gathered too much: later there may be room.
    Now(Refusal),
}

impl Room {
    pub(crate) fn new(max_open_bytes: usize, max_gathered_bytes: usize) -> Room {
        Room { held: Held::default(), max_open_bytes, max_gathered_bytes }
    }

    /// Returns what all open transactions hold.
    pub(crate) fn held(&self) -> Held {
        self.held
    }

    /// Counts a transaction that holds something else than before.
    pub(crate) fn change(&mut self, before: Held, after: Held) {
        let changed = |held: usize, before: usize, after: usize| (held + after).saturating_sub(before);
        self.held.work_bytes = changed(self.held.work_bytes, before.work_bytes, after.work_bytes);
        self.held.result_bytes = changed(self.held.result_bytes, before.result_bytes, after.result_bytes);
        self.held.leaving_bytes = changed(self.held.leaving_bytes, before.leaving_bytes, after.leaving_bytes);
        self.held.begun = changed(self.held.begun, before.begun, after.begun);
    }

    /// Checks that a transaction with so much work can be taken. None is while more than three quarters of the room for
    /// results are taken, so that those that are open can end.
    pub(crate) fn admit(&self, work_bytes: usize) -> Result<(), Rejection> {
        if self.held.work_bytes + work_bytes > self.max_open_bytes {
            return Err(Rejection::TooMuchOpen { max_open_bytes: self.max_open_bytes });
        }
        if self.held.result_bytes > self.max_gathered_bytes - self.max_gathered_bytes / 4 {
            return Err(Rejection::TooMuchGathered { max_gathered_bytes: self.max_gathered_bytes });
        }
        Ok(())
    }

    /// Returns true if it is worth waiting for room, before more results come: more than a quarter of it is taken, and of
    /// that a sixteenth of the whole is about to be let go. What open transactions hold on to brings nothing, however long
    /// one waits.
    pub(crate) fn is_about_to_grow(&self) -> bool {
        self.held.result_bytes > self.max_gathered_bytes / 4 && self.held.leaving_bytes > self.max_gathered_bytes / 16
    }

    /// Checks that a result can be kept by a transaction that has `gathered` so much already.
    pub(crate) fn keep(&self, gathered: usize, result: usize) -> Result<(), NoRoom> {
        let too_large = |detail: String| Err(NoRoom::TooLarge(Refusal::new(RefusalCode::TooLarge, detail)));
        if result > MAX_RESULT_BYTES {
            return too_large(format!(
                "what it handed back has {result} bytes, more than the {MAX_RESULT_BYTES} that one branch or step may; let it hand back less"
            ));
        }
        if gathered + result > MAX_TRANSACTION_RESULT_BYTES {
            return too_large(format!(
                "{result} bytes that it handed back, with the {gathered} of others, are more than the {MAX_TRANSACTION_RESULT_BYTES} that one transaction may gather; read less in it, or split it"
            ));
        }
        if self.held.result_bytes + result > self.max_gathered_bytes {
            let detail = format!(
                "all open transactions have gathered {} bytes, and {result} more are over max_gathered_bytes = {}; try again later, or raise it",
                self.held.result_bytes, self.max_gathered_bytes
            );
            return Err(NoRoom::Now(Refusal::new(RefusalCode::Unavailable, detail)));
        }
        Ok(())
    }
}

impl NoRoom {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            NoRoom::TooLarge(refusal) | NoRoom::Now(refusal) => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_and_lets_go_again() {
        let mut room = Room::new(100, 10);
        let one = Held { work_bytes: 60, result_bytes: 9, leaving_bytes: 0, begun: 0 };
        room.change(Held::default(), one);
        assert_eq!(room.admit(41), Err(Rejection::TooMuchOpen { max_open_bytes: 100 }));
        assert_eq!(room.admit(40), Err(Rejection::TooMuchGathered { max_gathered_bytes: 10 }));
        assert_eq!(room.keep(0, 1), Ok(()));
        assert!(matches!(room.keep(0, 2), Err(NoRoom::Now(refusal)) if refusal.code.is_transient()));
        room.change(one, Held::default());
        assert_eq!((room.admit(100), room.keep(0, 10)), (Ok(()), Ok(())));
    }

    #[test]
    fn nobody_waits_for_room_that_open_transactions_hold_on_to() {
        let mut room = Room::new(100, 160);
        let held = Held { work_bytes: 0, result_bytes: 100, leaving_bytes: 0, begun: 0 };
        let small = Held { work_bytes: 0, result_bytes: 10, leaving_bytes: 10, begun: 0 };
        let large = Held { work_bytes: 0, result_bytes: 11, leaving_bytes: 11, begun: 0 };
        room.change(Held::default(), held);
        room.change(Held::default(), small);
        assert!(!room.is_about_to_grow(), "little is about to go");
        room.change(small, large);
        assert!(room.is_about_to_grow());
        room.change(held, Held::default());
        assert!(!room.is_about_to_grow(), "there is room enough");
    }

    #[test]
    fn what_one_result_or_one_transaction_may_not_have_is_refused_for_good_however_much_room_there_is() {
        let room = Room::new(usize::MAX, usize::MAX);
        for (gathered, result) in [(0, MAX_RESULT_BYTES + 1), (MAX_TRANSACTION_RESULT_BYTES, 1)] {
            assert!(
                matches!(room.keep(gathered, result), Err(NoRoom::TooLarge(refusal)) if !refusal.code.is_transient())
            );
        }
        assert_eq!(room.keep(MAX_TRANSACTION_RESULT_BYTES - MAX_RESULT_BYTES, MAX_RESULT_BYTES), Ok(()));
    }
}
