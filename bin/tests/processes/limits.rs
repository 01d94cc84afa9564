//! Limits per identity: one is held to its rate and to its share, and another commits on.

use crate::support::api::{self, branch, no_wait, transfer, within_ms};
use crate::support::{banks, nobody, start, until};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use undoubt::cluster::{Cluster, Plan};
use undoubt_client::kv::KvWork;
use undoubt_platform::Reason;
use undoubt_platform::access::TokenHash;
use undoubt_proto::v1;
use undoubt_proto::v1::sequenced_response::Result as Sequenced;

/// Submissions of one stream, more than any burst.
const MANY: u64 = 60;

/// The rate of those that are limited, and their burst.
const PER_S: u64 = 1;
const BURST: u64 = 5;

/// Two banks and one participant that is away, behind a coordinator that knows "busy" and "calm", and a gateway. Each shows its
/// name as its token.
async fn limited(settings: &[&str]) -> (Cluster, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identities.toml");
    let entry = |name: &str, roles: &str, limits: &str| {
        let hash = TokenHash::of(name);
        format!("[[identity]]\nname = \"{name}\"\nroles = [{roles}]\ntokens = [\"{hash}\"]\nlimits = {limits}\n")
    };
    let calm = "{ submissions_per_s = \"none\", open_percent = 100 }";
    let all = [
        entry("busy", "\"submit\"", "{}"),
        entry("calm", "\"submit\"", calm),
        entry("gateway", "\"submit\", \"delegate\"", calm),
    ];
    std::fs::write(&file, all.concat()).unwrap();
    let identities = format!("access.identities={}", file.display());
    let settings = [&[identities.as_str(), "access.anonymous=[\"submit\"]"], settings].concat();
    let coordinator_settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let cluster = start(Plan { coordinator_settings, foreign_participants: vec![nobody("away")], ..banks() }).await;
    (cluster, folder)
}

/// A caller: its token, if any, and the one on whose behalf it asks.
#[derive(Clone, Copy)]
struct As<'a>(Option<&'a str>, Option<&'a str>);

impl As<'_> {
    fn ask<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Some(token) = self.0 {
            metadata.insert("authorization", MetadataValue::try_from(format!("Bearer {token}")).unwrap());
        }
        if let Some(name) = self.1 {
            metadata.insert("undoubt-on-behalf-of", MetadataValue::try_from(name).unwrap());
        }
        request
    }

    async fn submit(self, cluster: &Cluster, request: v1::SubmitRequest) -> Result<v1::Outcome, Status> {
        let answered = api::coordinator(cluster).await.submit(self.ask(request)).await?;
        Ok(answered.into_inner().outcome.unwrap())
    }

    /// Submits many at once, and returns those that were let in and the errors of the others.
    async fn submit_many(self, cluster: &Cluster, name: &str) -> (Vec<String>, Vec<v1::SubmitError>) {
        let id = |sequence| format!("{name}-{sequence}");
        let request = |sequence| Some(within_ms(600_000, transfer(&id(sequence), 1)));
        let requests =
            (0..MANY).map(|sequence| v1::SequencedRequest { sequence, request: request(sequence) }).collect();
        let asked = self.ask(tokio_stream::once(v1::SubmitBatch { requests }));
        let mut answers = api::coordinator(cluster).await.submit_many(asked).await.unwrap().into_inner();
        let (mut let_in, mut refused) = (Vec::new(), Vec::new());
        while let Some(batch) = answers.message().await.unwrap() {
            for response in batch.responses {
                match response.result.unwrap() {
                    Sequenced::Outcome(_) => let_in.push(id(response.sequence)),
                    Sequenced::Error(error) => refused.push(error),
                }
            }
        }
        (let_in, refused)
    }
}

/// Fails unless this refuses for the reason, names who and which limit, and says when to come back.
#[track_caller]
fn expect_refused(status: &Status, reason: Reason, who: &str, limit: &str) {
    assert_eq!((status.code(), Reason::of(status)), (Code::ResourceExhausted, Some(reason)), "{status:?}");
    let known = status.get_details_error_info().unwrap().metadata;
    assert_eq!((known["identity"].as_str(), known["limit"].as_str()), (who, limit));
    assert!(status.message().contains(who) && status.message().contains(limit), "{status:?}");
    let after = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    let hint: u64 = status.metadata().get("retry-after-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!(after > Duration::ZERO && Duration::from_millis(hint) >= after, "{hint} {after:?}");
}

#[tokio::test]
async fn one_is_held_to_its_rate_while_another_commits_on() {
    let rate = [format!("limits.submissions_per_s={PER_S}"), format!("limits.submission_burst={BURST}")];
    let (cluster, _folder) = limited(&[&rate[0], &rate[1]]).await;
    let began = Instant::now();
    // However slow the machine is: no more than a burst, and what the time has brought.
    let most = |since: Instant| BURST + PER_S * (since.elapsed().as_secs() + 1);

    let busy = As(Some("busy"), None);
    let (let_in, refused) = busy.submit_many(&cluster, "busy").await;
    assert!(let_in.len() as u64 <= most(began), "{} in {:?}", let_in.len(), began.elapsed());
    assert_eq!(let_in.len() + refused.len(), MANY as usize);
    let error = refused.last().expect("nothing was refused");
    assert_eq!((error.code, error.reason.as_str()), (i32::from(Code::ResourceExhausted), "TOO_MANY_SUBMISSIONS"));
    assert!(error.message.contains("busy") && error.message.contains("limits.submissions_per_s"), "{error:?}");
    assert!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");

    // The calm one has no limits, and all of its transactions are let in meanwhile.
    let (let_in_of_calm, refused) = As(Some("calm"), None).submit_many(&cluster, "calm").await;
    assert_eq!((let_in_of_calm.len(), refused), (MANY as usize, Vec::new()));

    // What is known already is answered all the same.
    let known = let_in.first().expect("nothing was let in");
    busy.submit(&cluster, transfer(known, 1)).await.unwrap();

    // Those without identity count as one, over whatever connections they come.
    let began = Instant::now();
    let nobody = As(None, None);
    let (first, _) = nobody.submit_many(&cluster, "one").await;
    let (second, refused) = nobody.submit_many(&cluster, "two").await;
    assert!((first.len() + second.len()) as u64 <= most(began), "{} and {}", first.len(), second.len());
    assert!(refused.last().unwrap().message.contains("without identity"), "{refused:?}");
}

#[tokio::test]
async fn a_gateways_callers_are_held_to_limits_of_their_own() {
    let (cluster, _folder) = limited(&["limits.submissions_per_s=1", "limits.submission_burst=2"]).await;
    let refused = async |who: As<'static>, prefix: &str| {
        for number in 0..10_000 {
            if let Err(status) = who.submit(&cluster, no_wait(transfer(&format!("{prefix}-{number}"), 1))).await {
                return status;
            }
        }
        panic!("ten thousand are let in");
    };
    let ada = As(Some("gateway"), Some("ada"));
    expect_refused(&refused(ada, "a").await, Reason::TooManySubmissions, "ada", "limits.submissions_per_s");
    // For one whom the coordinator knows the limits are those of its entry, whichever way it comes.
    for number in 0..20 {
        let calm = As(Some("gateway"), Some("calm"));
        calm.submit(&cluster, no_wait(transfer(&format!("c-{number}"), 1))).await.unwrap();
    }
    expect_refused(&refused(As(None, None), "n").await, Reason::TooManySubmissions, "", "limits.submissions_per_s");
    // And whoever may not speak for others is not counted under their names.
    let status = As(Some("busy"), Some("calm")).submit(&cluster, transfer("d", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn one_is_held_to_its_share_of_what_may_be_open_while_another_commits_on() {
    let (cluster, _folder) = limited(&["max_open_transactions=20", "limits.open_percent=20"]).await;
    let busy = As(Some("busy"), None);
    let stays_open = |number: u32| {
        let branches = ["bank-a", "away"].map(|participant| branch(participant, KvWork::new().get("k")));
        no_wait(within_ms(600_000, api::request(&format!("open-{number}"), branches)))
    };
    for number in 0..4 {
        busy.submit(&cluster, stays_open(number)).await.unwrap();
    }
    for number in 4..8 {
        let status = busy.submit(&cluster, stays_open(number)).await.unwrap_err();
        expect_refused(&status, Reason::ShareTaken, "busy", "limits.open_percent");
    }
    // What it holds already is answered, and others have room.
    busy.submit(&cluster, stays_open(0)).await.unwrap();
    let (let_in, refused) = As(Some("calm"), None).submit_many(&cluster, "calm").await;
    // It commits as many at a time as there is room for; what is refused is refused by the bound of all.
    assert!(let_in.len() >= 16, "{refused:?}");
    assert!(refused.iter().all(|error| error.reason == "TOO_MANY_OPEN"), "{refused:?}");
    for number in 0..10 {
        let transfer = || transfer(&format!("after-{number}"), 1);
        let outcome =
            until("there is room", async || As(Some("calm"), None).submit(&cluster, transfer()).await.ok()).await;
        assert_eq!(outcome.state(), v1::State::Committed);
    }

    let tx = bytes::Bytes::from_static(b"open-0");
    api::coordinator(&cluster).await.cancel(busy.ask(v1::CancelRequest { tx })).await.unwrap();
    until("there is room in its share", async || busy.submit(&cluster, stays_open(9)).await.ok()).await;
    let status = busy.submit(&cluster, stays_open(10)).await.unwrap_err();
    expect_refused(&status, Reason::ShareTaken, "busy", "limits.open_percent");
}
