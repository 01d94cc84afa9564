use super::*;
use crate::options::ClientOptions;
use crate::test_server::{Reply, TestServer, quick};
use crate::transaction::Transaction;
use futures::stream;
use undoubt_vocabulary::Outcome;
use undoubt_work::Work;

fn transactions(count: usize) -> Vec<Transaction> {
    (0..count).map(|n| Transaction::with_id(format!("tx-{n}").parse().unwrap()).on("a", Work::raw("w"))).collect()
}

async fn submit(server: &TestServer, options: ClientOptions, transactions: Vec<Transaction>) -> Vec<Completion> {
    server.client(options).submit_many(stream::iter(transactions)).collect().await
}

fn sequences(submitted: &[Completion]) -> Vec<u64> {
    let mut sequences: Vec<_> = submitted.iter().map(|submitted| submitted.sequence).collect();
    sequences.sort_unstable();
    sequences
}

#[tokio::test(start_paused = true)]
async fn after_a_broken_stream_the_unanswered_are_submitted_again_and_each_is_answered_once() {
    let server = TestServer::many(|stream, sequence| match (stream, sequence) {
        (0, 0..=2) | (1, 7) | (2.., _) => Reply::Commit,
        (0, 8) | (1, 9) => Reply::Break(Status::unavailable("stopping")),
        _ => Reply::Silence,
    });
    let submitted = submit(&server, quick(), transactions(10)).await;
    assert_eq!(sequences(&submitted), (0..10).collect::<Vec<_>>());
    for done in &submitted {
        assert_eq!(done.tx.to_string(), format!("tx-{}", done.sequence));
        assert_eq!(done.result.as_ref().unwrap().outcome, Outcome::Committed);
    }
    let requests = server.requests();
    let times = |tx: &str| requests.iter().filter(|request| request.tx == tx).count();
    assert_eq!((times("tx-0"), times("tx-7"), times("tx-5")), (1, 2, 3));
    assert!(requests.iter().all(|request| request.timeout_ms == 0 && request.branches.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_turned_away_comes_back_after_the_hint_and_holds_up_nobody() {
    let server = TestServer::many(|_, sequence| if sequence == 1 { Reply::Busy(300) } else { Reply::Commit });
    let began = Instant::now();
    let options = ClientOptions { deadline: Duration::from_millis(1_000), ..quick() };
    let submitted = submit(&server, options, transactions(3)).await;
    assert_eq!(submitted.iter().map(|done| done.sequence).collect::<Vec<_>>(), [0, 2, 1]);
    assert!(matches!(submitted[2].result, Err(SubmitError::NotAccepted { .. })), "{:?}", submitted[2]);
    let tries = server.requests().iter().filter(|request| request.tx == "tx-1").count();
    assert!((3..=4).contains(&tries) && began.elapsed() >= Duration::from_millis(600), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn while_there_is_no_room_the_others_do_not_knock() {
    let began = Instant::now();
    let no_room_at_first = move |_, sequence| match sequence {
        0..=3 => Reply::Silence,
        _ if began.elapsed() < Duration::from_secs(1) => Reply::Busy(10),
        _ => Reply::Commit,
    };
    let server = TestServer::many(no_room_at_first);
    let options = ClientOptions { deadline: Duration::from_secs(30), ..quick() };
    let submitting = server.client(options).submit_many(stream::iter(transactions(104)));
    let submitted: Vec<Completion> = submitting.take(100).collect().await;
    assert_eq!(sequences(&submitted), (4..104).collect::<Vec<_>>());
    let requests = server.requests().len();
    // Each once in vain in the first batch, and once to be committed; now and then one that looks whether there is room.
    assert!(requests < 300, "{requests} requests for 100 transactions");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_each_ones_deadline_with_an_unknown_outcome() {
    let server = TestServer::many(|_, _| Reply::Silence);
    let submitted = submit(&server, quick(), transactions(3)).await;
    assert_eq!(sequences(&submitted), [0, 1, 2]);
    for done in submitted {
        assert!(matches!(done.result, Err(SubmitError::OutcomeUnknown { .. })), "{done:?}");
        assert!(done.took >= quick().deadline && done.took < quick().deadline * 2, "{:?}", done.took);
    }
}

#[tokio::test(start_paused = true)]
async fn each_is_waited_for_as_long_as_its_own_deadline_says() {
    let server = TestServer::many(|_, _| Reply::Silence);
    let mut all = transactions(3);
    all[0] = all[0].clone().timeout(Duration::from_secs(14));
    let submitted = submit(&server, quick(), all.clone()).await;
    assert_eq!(sequences(&submitted[..2]), [1, 2]);
    assert_eq!((submitted[2].sequence, submitted[2].took >= Duration::from_secs(14)), (0, true));
    assert!(submitted[2].result.as_ref().unwrap_err().to_string().contains("no answer came in time"));
    let unheard = submit(&TestServer::unreachable(), quick(), all).await;
    assert!(unheard.iter().all(|done| matches!(done.result, Err(SubmitError::NotAccepted { .. }))));
    // They are taken one after the other while nobody can be reached.
    assert!(unheard.iter().all(|done| done.took < 2 * quick().deadline), "{unheard:?}");
}

#[tokio::test(start_paused = true)]
async fn while_nobody_can_be_reached_nothing_counts_as_accepted() {
    let server = TestServer::unreachable();
    let submitted = submit(&server, quick(), transactions(2)).await;
    assert_eq!(sequences(&submitted), [0, 1]);
    assert!(submitted.iter().all(|done| matches!(done.result, Err(SubmitError::NotAccepted { .. }))));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_bound_are_under_way_and_they_travel_in_batches() {
    let server = TestServer::many(|_, _| Reply::Commit);
    let options = ClientOptions { max_in_flight_transactions: 4, ..quick() };
    let submitted = submit(&server, options, transactions(50)).await;
    assert_eq!(sequences(&submitted), (0..50).collect::<Vec<_>>());
    assert!(server.largest_batch() > 1 && server.largest_batch() <= 4, "{}", server.largest_batch());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_transaction_is_answered_and_the_others_go_on() {
    let server = TestServer::many(|_, _| Reply::Commit);
    let mut all = transactions(2);
    all.insert(1, Transaction::new());
    let submitted = submit(&server, quick(), all).await;
    assert_eq!(sequences(&submitted), [0, 1, 2]);
    let invalid = submitted.iter().find(|done| done.sequence == 1).unwrap();
    assert!(matches!(invalid.result, Err(SubmitError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn a_stream_refused_for_good_answers_all_with_the_refusal() {
    let server = TestServer::many(|_, _| Reply::Break(Status::permission_denied("not you")));
    let submitted = submit(&server, quick(), transactions(3)).await;
    assert_eq!(sequences(&submitted), [0, 1, 2]);
    assert!(submitted.iter().all(|done| matches!(done.result, Err(SubmitError::NotOffered { .. }))));
}
