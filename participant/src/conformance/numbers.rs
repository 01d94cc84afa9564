//! The promises about the numbers of writes, by which an older copy of a resource is noticed.

use super::BranchWorld;
use super::server::step;
use super::subject::{COORDINATOR, Subject, attempt, done};
use crate::resource::{Loss, RecoveredLog, Resource, Steps as _};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{AttemptNumber, Direction, Lack, Start, Timestamp, WriteNumber};

/// Writes that nobody has made.
const MANY: u64 = 1_000_000;

pub(super) async fn each_answer_is_held_after_a_crash_and_more_would_be_missed<W: BranchWorld>(world: &mut W) {
    let mut subject = Subject::fresh(world).await;
    let mut shown = number(&subject);
    for start in 0..3 {
        subject.carry_out(&attempt(2 * start + 1), subject.world.put("k", "new")).await;
        let after = number(&subject);
        assert!(shown.is_before(&after), "a commit that was answered has a number: {after} after {shown}");
        subject.vote_in_one_phase(&attempt(2 * start + 2), subject.world.put("k", "newer")).await;
        shown = number(&subject);
        assert!(after.is_before(&shown), "a commit in one phase has a number: {shown} after {after}");
        let (next, recovered) = subject.crash().await;
        let log = log(recovered.log);
        assert_eq!(log.starts.lack(&shown), None, "what was answered for before a crash is held after it");
        let more = WriteNumber { writes: shown.writes + MANY, ..shown };
        assert_eq!(log.starts.lack(&more), Some(Lack::Writes), "what others have seen and it does not hold is missed");
        subject = next;
    }
}

pub(super) async fn ends_of_steps_are_held_after_a_crash_and_not_missed_once_collected<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    if !subject.resource.takes_open_sagas() {
        return;
    }
    let mut shown = number(&subject);
    for (index, direction, acted_elsewhere) in [
        (0, Direction::Completing, false),
        (1, Direction::Completing, true),
        (2, Direction::Compensating, false),
        (3, Direction::Compensating, true),
    ] {
        let one = step(1, index);
        if !acted_elsewhere {
            let run = one.run(Direction::Forward, 1, subject.world.put("k", "acted"));
            done("act", subject.resource.act(one.id.clone(), run, CancellationToken::new())).await;
            let after = number(&subject);
            assert!(shown.is_before(&after), "an action that was answered has a number: {after} after {shown}");
            shown = after;
        }
        let mut run = one.run(direction, 1, subject.world.put("k", "ended"));
        run.inputs.push(Bytes::new());
        run.acted_elsewhere = acted_elsewhere;
        match direction {
            Direction::Completing => done("complete", subject.resource.complete(one.id.clone(), run)).await,
            Direction::Compensating | Direction::Forward => {
                done("compensate", subject.resource.compensate(one.id.clone(), run)).await
            }
        };
        let after = number(&subject);
        assert!(shown.is_before(&after), "what ends a step and was answered has a number: {after} after {shown}");
        shown = after;
    }
    let (subject, recovered) = subject.crash().await;
    let starts = log(recovered.log).starts;
    assert_eq!(starts.lack(&shown), None, "what was answered for before a crash is held after it");
    let more = WriteNumber { writes: shown.writes + 1, ..shown };
    assert_eq!(starts.lack(&more), Some(Lack::Writes), "one more than there were is missed");
    done("collect", subject.resource.collect(COORDINATOR, AttemptNumber(9).into())).await;
    // What was collected is not durable before the next commit.
    subject.carry_out(&attempt(11), subject.world.put("j", "new")).await;
    let (_, recovered) = subject.crash().await;
    assert_eq!(log(recovered.log).starts.lack(&shown), None, "a number stays when its record goes");
}

pub(super) async fn rows_that_are_collected_are_not_missed<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.carry_out(&attempt(1), subject.world.put("k", "new")).await;
    let shown = number(&subject);
    done("collect", subject.resource.collect(COORDINATOR, AttemptNumber(9).into())).await;
    // What was collected is not durable before the next commit.
    subject.carry_out(&attempt(11), subject.world.put("j", "new")).await;
    let (_, recovered) = subject.crash().await;
    assert_eq!(log(recovered.log).starts.lack(&shown), None, "a number stays when its record goes");
}

pub(super) async fn a_sign_of_an_older_copy_is_kept_until_the_loss_is_accepted<W: BranchWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    subject.carry_out(&attempt(1), subject.world.put("k", "new")).await;
    let shown = WriteNumber { writes: number(&subject).writes + MANY, ..number(&subject) };
    done("store_put_back", subject.resource.store_put_back("others have seen more".to_owned())).await;
    let (subject, recovered) = subject.crash().await;
    assert_eq!(log(recovered.log).put_back.as_deref(), Some("others have seen more"), "the sign is forced");
    let (at, above) = (Timestamp(7), Start { losses: 0, count: 90, mark: 0 });
    let loss = Loss { at, who: "an operator".into(), reason: "it is so".into(), put_back: "more".into(), above };
    let starts = done("accept_loss", subject.resource.accept_loss(loss, 77)).await;
    assert!(starts.now.count > above.count && starts.now.losses > 0, "another start begins above all that was shown");
    subject.carry_out(&attempt(2), subject.world.put("k", "newer")).await;
    let after = number(&subject);
    assert_eq!(after.start, starts.now, "what comes after a loss is numbered in the start that it begins");
    let (_, recovered) = subject.crash().await;
    let log = log(recovered.log);
    assert_eq!((log.put_back, log.losses.len()), (None, 1), "a loss that is accepted is kept, and the sign is gone");
    assert_eq!(log.starts.lack(&shown), None, "what was lost is not missed any more");
    assert_eq!(log.starts.lack(&after), None, "what came after the loss is held");
}

fn number<W: BranchWorld>(subject: &Subject<'_, W>) -> WriteNumber {
    subject.resource.number().expect("it numbers its writes")
}

fn log(log: Option<RecoveredLog>) -> RecoveredLog {
    log.expect("a resource that numbers its writes tells its log")
}
