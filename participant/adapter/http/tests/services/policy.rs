//! The participant tells an answer as refused or as unclear, or asks again; and its calls say what they are.

use crate::support::memory::MemoryStore;
use crate::support::server::{Reply, Server, reply};
use crate::support::{
    PATIENCE, act, act_within, answer, branch, fresh, network, prepare, refused, run, settings, step, undo, work,
};
use bytes::Bytes;
use http_body_util::Full;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_http::{HeaderFrom, HttpServices, Settings};
use undoubt_participant::resource::{Branches as _, Resource as _, ResourceError, StepState, Steps as _, TracedCall};
use undoubt_platform::StoreError;
use undoubt_vocabulary::{Direction, Execution, RefusalCode, RunStep, StepOutcome, TraceContext, Vote};
use undoubt_work::http::{HttpWork, Method, Request};
use undoubt_work::{Reference, Results, Work};

/// Answers with these statuses, one after the other, and with the last from then on.
async fn says(statuses: &'static [u16]) -> Server {
    let at = AtomicU32::new(0);
    Server::start(move |_| {
        let at = at.fetch_add(1, Ordering::Relaxed) as usize;
        Some(reply(statuses[at.min(statuses.len() - 1)], r#"{"why": "because"}"#))
    })
    .await
}

async fn state(http: &HttpServices) -> Option<StepState> {
    http.settle_step(step(0)).await.unwrap()
}

#[tokio::test]
async fn a_definite_refusal_is_told_in_full_and_leaves_nothing() {
    for status in [400_u16, 401, 403, 404, 409, 422] {
        let server = Server::start(move |_| Some(reply(status, r#"{"why": "no seat left"}"#))).await;
        let (_, http) = fresh(&server.url);
        let (code, detail) = refused(act(&http, 0, Request::post(&server.url)).await);
        assert_eq!(code, RefusalCode::Condition, "{status}");
        assert!(detail.contains(&status.to_string()) && detail.contains("no seat left"), "{detail}");
        assert_eq!(state(&http).await, None, "{status}");
    }
}

#[tokio::test]
async fn what_is_unclear_stays_attempted_until_an_attempt_is_answered() {
    let server = says(&[500, 302, 408, 503, 429, 200]).await;
    let (_, http) = fresh(&server.url);
    for sent in 1..=5 {
        let (code, detail) = refused(act(&http, 0, Request::post(&server.url)).await);
        assert_eq!((code, server.asked().len()), (RefusalCode::Unclear, sent), "one call for each attempt: {detail}");
        assert_eq!(state(&http).await, Some(StepState::Attempted));
    }
    assert_eq!(answer(act(&http, 0, Request::post(&server.url)).await).status, 200);
    assert!(matches!(state(&http).await, Some(StepState::Acted { .. })));
    let asked = server.asked();
    assert!(asked.iter().all(|one| one.header("idempotency-key") == asked[0].header("idempotency-key")));
}

#[tokio::test]
async fn an_attempted_step_is_not_told_as_refused_for_any_reason_of_the_participants_own() {
    let server = says(&[500, 409]).await;
    let (store, http) = fresh(&server.url);
    refused(act(&http, 0, Request::post(&server.url)).await);
    let none_allowed = HttpServices::new(store.clone(), settings(&[]), network()).unwrap();
    let (code, detail) = refused(act(&none_allowed, 0, Request::post(&server.url)).await);
    assert!(code == RefusalCode::Unclear && detail.contains("http.allow"), "{detail}");
    let (step_0, cancelled) = (step(0), CancellationToken::new());
    cancelled.cancel();
    let again = run(&step_0, Direction::Forward, work(Request::post(&server.url)));
    let (code, _) = refused(http.act(step_0, again, cancelled).await.unwrap());
    assert_eq!(code, RefusalCode::Unclear, "nor because it was called off");
    let gone = Request::post("http://127.0.0.1:1/");
    let away = HttpServices::new(store.clone(), settings(&["http://127.0.0.1:1"]), network()).unwrap();
    assert_eq!(refused(act(&away, 0, gone).await).0, RefusalCode::Unclear, "nor because the service is away now");
    store.fails_writes(Some(StoreError::Unavailable { cause: "full".into() }));
    let (code, detail) = refused(act(&http, 0, Request::post(&server.url)).await);
    assert_eq!(code, RefusalCode::Condition, "the service itself may: {detail}");
}

#[tokio::test]
async fn what_is_held_by_somebody_else_is_refused_for_now_and_unclear_if_it_was_asked_for_before() {
    let server = says(&[423, 500, 423]).await;
    let (_, http) = fresh(&server.url);
    let (code, _) = refused(act(&http, 0, Request::post(&server.url)).await);
    assert_eq!((code, state(&http).await), (RefusalCode::LockTimeout, None));
    for _ in 0..2 {
        // The second one may have overtaken the first, which then finds it free.
        let (code, detail) = refused(act(&http, 0, Request::post(&server.url)).await);
        assert_eq!((code, state(&http).await), (RefusalCode::Unclear, Some(StepState::Attempted)), "{detail}");
    }
}

#[tokio::test]
async fn a_try_that_finds_held_what_an_earlier_one_may_yet_find_free_owes_a_cancel() {
    let server = says(&[500, 423, 423, 200]).await;
    let (_, http) = fresh(&server.url);
    let call = || Request::post(&server.url);
    let prepare = prepare(HttpWork::try_then(call(), call(), call()), Execution::TwoPhase);
    let unclear = http.prepare(branch(), prepare, CancellationToken::new()).await;
    assert!(matches!(unclear, Err(ResourceError::Unclear { .. })), "{unclear:?}");
    http.abort(branch()).await.unwrap();
    let asked = server.asked();
    let operations: Vec<&str> = asked.iter().map(|asked| asked.header("undoubt-operation")).collect();
    assert_eq!(operations, ["try", "try", "try", "cancel"]);
}

#[tokio::test]
async fn what_was_never_sent_leaves_nothing() {
    let (_, http) = fresh("http://127.0.0.1:1");
    let (code, detail) = refused(act(&http, 0, Request::post("http://127.0.0.1:1/")).await);
    assert!(code == RefusalCode::Unavailable && detail.contains("was not asked"), "{detail}");
    assert_eq!(state(&http).await, None);
    let server = says(&[200]).await;
    let (store, http) = fresh(&server.url);
    store.fails_writes(Some(StoreError::Unavailable { cause: "full".into() }));
    assert_eq!(refused(act(&http, 0, Request::post(&server.url)).await).0, RefusalCode::Unavailable);
    assert!(server.asked().is_empty(), "no call without a record of it");
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_is_unclear_and_asked_for_again() {
    let store = Arc::new(MemoryStore::default());
    let failing = store.clone();
    let server = Server::start(move |_| {
        failing.fails_writes(Some(StoreError::Unavailable { cause: "full".into() }));
        Some(reply(200, "{}"))
    })
    .await;
    let http = crate::support::open(store.clone(), &server.url);
    assert_eq!(refused(act(&http, 0, Request::post(&server.url)).await).0, RefusalCode::Unclear);
    store.fails_writes(None);
    assert_eq!(state(&http).await, Some(StepState::Attempted));
}

fn later(status: u16, after: &str) -> Reply {
    let busy = http::Response::builder().status(status).header("retry-after", after);
    busy.body(Full::new(Bytes::new())).unwrap()
}

#[tokio::test]
async fn a_service_that_is_at_it_or_busy_is_asked_again_within_the_attempt_as_it_says() {
    for (status, after) in [(425, "0"), (429, "0"), (503, "0"), (503, "Thu, 01 Jan 1970 00:00:00 GMT")] {
        let at = AtomicU32::new(0);
        let server = Server::start(move |_| {
            let first = at.fetch_add(1, Ordering::Relaxed) < 2;
            Some(if first { later(status, after) } else { reply(200, "{}") })
        })
        .await;
        let (_, http) = fresh(&server.url);
        assert_eq!(answer(act(&http, 0, Request::post(&server.url)).await).status, 200, "{status}");
        assert_eq!(server.asked().len(), 3);
    }
    let for_ever = Duration::from_millis(u64::MAX);
    for (after, timeout) in [("3600", PATIENCE), ("18446744073709551615", PATIENCE), ("18446744073709551615", for_ever)]
    {
        let server = Server::start(move |_| Some(later(503, after))).await;
        let (_, http) = fresh(&server.url);
        let (code, detail) = refused(act_within(&http, 0, Request::post(&server.url), timeout).await);
        assert!(code == RefusalCode::Unclear && detail.contains(&format!("after {after} s")), "{detail}");
    }
}

#[tokio::test]
async fn a_compensation_that_the_service_does_not_know_is_done_only_if_the_action_was_never_answered() {
    for status in [404_u16, 410] {
        let server = Server::start(move |asked| {
            let undoes = asked.header("undoubt-operation") == "compensation";
            Some(reply(if undoes { status } else { 200 }, "{}"))
        })
        .await;
        let (_, http) = fresh(&server.url);
        let StepOutcome::Done { result, .. } = act(&http, 0, Request::post(&server.url)).await else {
            panic!("it is done")
        };
        let (code, _) = refused(undo(&http, 0, Request::post(&server.url), result).await.unwrap());
        assert_eq!(code, RefusalCode::Condition, "what was done cannot be unknown");
        assert!(matches!(state(&http).await, Some(StepState::Acted { .. })));
        let server = Server::start(move |asked| {
            let undoes = asked.header("undoubt-operation") == "compensation";
            Some(reply(if undoes { status } else { 500 }, "{}"))
        })
        .await;
        let (_, http) = fresh(&server.url);
        refused(act(&http, 0, Request::post(&server.url)).await);
        let undone = undo(&http, 0, Request::post(&server.url), Bytes::new()).await.unwrap();
        assert!(matches!(undone, StepOutcome::Done { .. }));
        assert_eq!(state(&http).await, Some(StepState::Compensated));
    }
}

#[tokio::test]
async fn a_compensation_without_an_answer_is_unclear_and_goes_on_with_the_same_key() {
    let server = says(&[200, 500, 302, 200]).await;
    let (_, http) = fresh(&server.url);
    let StepOutcome::Done { result, .. } = act(&http, 0, Request::post(&server.url)).await else {
        panic!("it is done")
    };
    for _ in 0..2 {
        let outcome = undo(&http, 0, Request::post(&server.url), result.clone()).await.unwrap();
        assert_eq!(refused(outcome).0, RefusalCode::Unclear);
    }
    undo(&http, 0, Request::post(&server.url), result).await.unwrap();
    let keys: Vec<_> = server.asked()[1..].iter().map(|asked| asked.header("idempotency-key").to_owned()).collect();
    assert!(
        keys.iter().all(|key| *key == keys[0]) && keys[0] != server.asked()[0].header("idempotency-key"),
        "{keys:?}"
    );
    assert_eq!(state(&http).await, Some(StepState::Compensated));
}

#[tokio::test]
async fn a_call_says_what_it_is_and_uses_what_earlier_steps_were_answered() {
    let server = says(&[200]).await;
    let (_, http) = fresh(&server.url);
    let from = Reference::to_column("flight", 0, "seat");
    let request = Request::new(Method::Put, &format!("{}/rooms/{{seat}}", server.url));
    let request =
        request.json(serde_json::json!({"near": "{seat}"})).header("x-from", "undoubt").parameter("seat", from);
    let body = Bytes::from_static(br#"{"seat": "7 A"}"#);
    let earlier = Results::encode_answer(&undoubt_work::http::HttpResult { status: 200, body, is_json: true });
    let work = Work::from(request).encode(&["flight"]).unwrap();
    let run = RunStep { inputs: vec![earlier], ..run(&step(3), Direction::Forward, work) };
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    http.traced(TracedCall::Step(&step(3)), TraceContext::read(parent, "a=b").unwrap());
    http.act(step(3), run, CancellationToken::new()).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("PUT", "/rooms/7%20A"));
    assert_eq!(asked.body, r#"{"near":"7 A"}"#);
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-from", "undoubt"),
        ("undoubt-transaction", "t"),
        ("undoubt-step", "3"),
        ("undoubt-operation", "action"),
        ("traceparent", parent),
        ("tracestate", "a=b"),
        ("undoubt-effect", "07070707070707070707070707070707/t/1.1/3"),
        ("idempotency-key", "07070707070707070707070707070707/t/1.1/3/action"),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn branches_at_two_participants_have_keys_of_their_own_though_they_call_the_same_service() {
    let server = says(&[200]).await;
    for participant in ["http-a", "http-b"] {
        let (_, http) = fresh(&server.url);
        http.recover(&participant.parse().unwrap()).await.unwrap();
        let call = || Request::post(&server.url);
        let prepare = prepare(HttpWork::try_then(call(), call(), call()), Execution::TwoPhase);
        let vote = http.prepare(branch(), prepare, CancellationToken::new()).await.unwrap();
        assert!(matches!(vote, Vote::Prepared { .. }), "{vote:?}");
        http.commit(branch()).await.unwrap();
    }
    let effects: Vec<String> = server.asked().iter().map(|asked| asked.header("undoubt-effect").to_owned()).collect();
    assert_eq!((&effects[0], &effects[2]), (&effects[1], &effects[3]), "a try and its confirm share the effect");
    assert_ne!(effects[0], effects[2]);
}

#[tokio::test]
async fn secrets_come_from_files_go_where_they_belong_and_are_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "Bearer s3cret\n").unwrap();
    let (server, other) = (says(&[500]).await, says(&[500]).await);
    let headers_from =
        vec![HeaderFrom { to: format!("{}/pay", server.url), name: "authorization".to_owned(), file: file.clone() }];
    let settings = Settings { headers_from, ..settings(&[&server.url, &other.url]) };
    let http = HttpServices::new(Arc::new(MemoryStore::default()), settings.clone(), network()).unwrap();
    let mut said = String::new();
    for (at, url) in ["/pay/now", "/payments", "/"].into_iter().enumerate() {
        let index = u16::try_from(at).unwrap();
        said.push_str(&refused(act(&http, index, Request::post(&format!("{}{url}", server.url))).await).1);
    }
    refused(act(&http, 9, Request::post(&format!("{}/pay", other.url))).await);
    let sent: Vec<_> = server.asked().iter().map(|asked| asked.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["Bearer s3cret", "", ""]);
    assert_eq!(other.asked()[0].header("authorization"), "");
    assert!(!format!("{http:?} {said}").contains("s3cret"));
    std::fs::write(&file, "two\nlines").unwrap();
    let refused = HttpServices::new(Arc::new(MemoryStore::default()), settings, network()).unwrap_err().to_string();
    assert!(refused.contains("one line") && !refused.contains("two"), "{refused}");
}

#[tokio::test]
async fn the_calls_of_one_host_are_bounded_and_what_finds_no_place_was_never_sent() {
    let server = Server::later(|_| Box::pin(std::future::pending())).await;
    let settings = Settings { max_calls_per_host: 1, ..settings(&[&server.url]) };
    let http = Arc::new(HttpServices::new(Arc::new(MemoryStore::default()), settings, network()).unwrap());
    let (first, url, token) = (http.clone(), server.url.clone(), CancellationToken::new());
    let cancelled = token.clone();
    let under_way = tokio::spawn(async move {
        let run = run(&step(0), Direction::Forward, work(Request::post(&url)));
        first.act(step(0), run, cancelled).await.unwrap()
    });
    while server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    let short = Duration::from_millis(100);
    let (code, detail) = refused(act_within(&http, 1, Request::post(&server.url), short).await);
    assert!(code == RefusalCode::Unavailable && detail.contains("max_calls_per_host"), "{detail}");
    assert_eq!(http.health().numbers[0], ("calls_under_way", 1));
    token.cancel();
    let (code, _) = refused(under_way.await.unwrap());
    assert_eq!(code, RefusalCode::Unclear, "a call that is called off may have taken effect");
    assert_eq!(http.health().numbers[0], ("calls_under_way", 0));
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = says(&[200]).await;
    let (_, http) = fresh(&server.url);
    let began = tokio::time::Instant::now();
    for index in 0..50 {
        answer(act(&http, index, Request::post(&server.url)).await);
    }
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn nothing_is_begun_without_room_for_its_answer() {
    let server = says(&[200]).await;
    let (_, http) = fresh(&server.url);
    let room = undoubt_participant::resource::Room::default();
    let mut held = room.hold();
    held.add(1 << 30);
    http.use_room(room);
    let run = run(&step(0), Direction::Forward, work(Request::post(&server.url)));
    let refused = http.act(step(0), run, CancellationToken::new()).await;
    assert_eq!(refused, Err(ResourceError::NoRoom));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_host_that_gives_no_answer_again_and_again_is_left_alone_until_the_pause_is_over() {
    let silent = Arc::new(AtomicU32::new(1));
    let is_silent = silent.clone();
    let server = Server::start(move |_| (is_silent.load(Ordering::Relaxed) == 0).then(|| reply(200, "{}"))).await;
    let with_pause = |breaker_pause_ms| {
        let settings = Settings { breaker_threshold: 2, breaker_pause_ms, ..settings(&[&server.url]) };
        HttpServices::new(Arc::new(MemoryStore::default()), settings, network()).unwrap()
    };
    let (patient, hasty) = (with_pause(600_000), with_pause(1));
    for index in 10..14 {
        // Who leaves no time for an answer says nothing of the host.
        let within = Duration::from_millis(1);
        act_within(&patient, index, Request::post(&server.url), within).await;
    }
    for index in 0..2 {
        for http in [&patient, &hasty] {
            assert_eq!(refused(act(http, index, Request::post(&server.url)).await).0, RefusalCode::Unclear);
        }
    }
    let asked = server.asked().len();
    let (code, detail) = refused(act(&patient, 2, Request::post(&server.url)).await);
    assert!(code == RefusalCode::Unavailable && detail.contains("http.breaker_threshold"), "{detail}");
    let (code, _) = refused(act(&patient, 0, Request::post(&server.url)).await);
    assert_eq!((code, server.asked().len()), (RefusalCode::Unclear, asked), "an attempted step stays attempted");
    silent.store(0, Ordering::Relaxed);
    let found_out =
        async { while !matches!(act(&hasty, 3, Request::post(&server.url)).await, StepOutcome::Done { .. }) {} };
    tokio::time::timeout(PATIENCE, found_out).await.expect("nobody finds out that it answers");
}
