//! The promise that what crosses the wire stays within what is usual (R13).
//!
//! * `batch`: several messages share a batch of a session only up to its sender's usual size. Nothing excuses it: a large
//!   message goes alone.

use super::Violation;
use crate::plan::Direction;
use crate::run::{Oversized, Run};

pub fn check(run: &Run) -> Vec<Violation> {
    run.finals.oversized.iter().map(oversized).collect()
}

fn oversized(Oversized { participant, direction, messages, bytes, usual }: &Oversized) -> Violation {
    let way = match direction {
        Direction::ToParticipant => "to",
        Direction::ToCoordinator => "from",
    };
    let what = format!("{messages} messages {way} p{participant} share a batch of {bytes} bytes, {usual} are usual");
    Violation::new("sizes.batch", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{healthy, rules};

    #[test]
    fn a_batch_that_should_have_been_closed_before_is_found() {
        let mut run = healthy();
        assert_eq!(rules(check, &run), [""; 0]);
        let direction = Direction::ToCoordinator;
        run.finals.oversized.push(Oversized { participant: 1, direction, messages: 2, bytes: 11, usual: 10 });
        let broken = check(&run);
        assert_eq!(broken.len(), 1);
        assert!(broken[0].to_string().starts_with("sizes.batch: 2 messages from p1 share a batch"), "{}", broken[0]);
    }
}
