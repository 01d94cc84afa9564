//! Open sagas that low-water marks pass: what is held open for long keeps no participant from forgetting what came after it.

use crate::open_sagas::{BANK_A, BANK_B, opened_by, some, values};
use crate::support::api::channel;
use crate::support::{banks, until};
use futures::StreamExt as _;
use std::time::Duration;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::{Client, ClientOptions, OpenStep, Opening, Outcome, Saga, Step};
use undoubt_platform::{Direction, Store as _};
use undoubt_proto::v1;
use undoubt_proto::v1::participant_admin_client::ParticipantAdminClient;
use undoubt_rocks::{RocksOptions, RocksStore};

/// Sagas that pass at first.
const MANY: usize = 3_000;

/// Sagas that pass before each kill, so that low-water marks are told.
const PASSING: usize = 20;

/// The barriers that may be left when a participant is killed: those of sagas that ended in the moment before, and of what is open.
const JUST_ENDED: usize = 500;

fn seat(name: &str, number: i64) -> OpenStep {
    OpenStep::new(name, "bank-a")
        .action(KvWork::new().add("seats", Add::of(-number).floor(0)))
        .undo(KvWork::new().add("seats", number))
        .complete(KvWork::new().add("sold", number))
}

fn room() -> OpenStep {
    OpenStep::new("room", "bank-b").undo(KvWork::new().add("released", 1)).complete(KvWork::new().add("rooms", -1))
}

/// Carries out so many sagas, which leave two barriers at `bank-a` and one at `bank-b` each.
async fn pass(client: &Client, from: usize, count: usize) {
    let passing = (from..from + count).map(|number| async move {
        let add = |part: &str| KvWork::new().add(format!("passing-{number}-{part}"), 1);
        let step = |part: &str, at: &str| Step::new(part, at, add(part)).undo(add(part));
        let saga = Saga::new().step(step("a", "bank-a")).step(step("b", "bank-b")).step(step("c", "bank-a"));
        assert_eq!(client.submit(&saga).await.unwrap().outcome, Outcome::Committed);
    });
    futures::stream::iter(passing).buffer_unordered(64).collect::<Vec<()>>().await;
}

/// Returns the low-water mark that a participant knows, and how many attempts below it are still open.
async fn known_at(cluster: &Cluster, who: Who) -> (u64, u32) {
    let mut admin = ParticipantAdminClient::new(channel(cluster, who).await);
    let said = admin.describe(v1::DescribeParticipantRequest {}).await.unwrap().into_inner();
    let [known] = said.coordinators.try_into().expect("there is one coordinator");
    (known.low_water_mark, known.still_open)
}

/// Returns the number of barriers in the folder of a participant that is dead.
fn barriers(cluster: &Cluster, who: Who, copy: &str) -> usize {
    let folder = cluster.copy(who, copy).unwrap();
    let store = RocksStore::open(&folder, &undoubt_kv::FAMILIES, RocksOptions::default()).unwrap();
    store.scan(undoubt_participant::table::STEP, b"", None, Direction::Forward, 3 * MANY).unwrap().len()
}

#[tokio::test]
async fn what_an_open_saga_outlives_is_forgotten_and_it_ends_right_whatever_is_killed() {
    let coordinator_settings = vec!["open_saga_old_after_attempts=100".to_owned()];
    let mut cluster = opened_by(Plan { coordinator_settings, ..banks() }).await;
    let options = ClientOptions::default().deadline(Duration::from_secs(60));
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator).unwrap(), options).unwrap();
    let hour = || Opening::new().timeout(Duration::from_secs(3_600));
    let (closed, cancelled) = (client.begin(hour()).await.unwrap(), client.begin(hour()).await.unwrap());
    closed.run(seat("seat", 2)).await.unwrap();
    closed.join(room()).await.unwrap();
    cancelled.run(seat("seat", 3)).await.unwrap();

    pass(&client, 0, MANY).await;
    for (who, still_open) in [(BANK_A, 2), (BANK_B, 1)] {
        until("what is open is all that is open", async || {
            (known_at(&cluster, who).await.1 == still_open).then_some(())
        })
        .await;
    }
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    for (who, copy) in [(BANK_A, "copy-a"), (BANK_B, "copy-b")] {
        let mut times = 0;
        let left = until("the barriers of what has passed are dropped", async || {
            pass(&client, MANY + PASSING * times, PASSING).await;
            times += 1;
            cluster.kill(who).await.unwrap();
            let left = barriers(&cluster, who, &format!("{copy}-{times}"));
            cluster.restart(who, None).await.unwrap();
            (left < JUST_ENDED).then_some(left)
        })
        .await;
        println!("{left} barriers of {MANY} sagas, and of {times} times {PASSING} that passed later, are left");
    }

    // They go on as if nothing had passed them.
    until("a step is run after all this", async || closed.run(seat("another", 1)).await.ok()).await;
    pass(&client, 2 * MANY, 200).await;
    assert_eq!(closed.close().await.unwrap().outcome, Outcome::Committed);
    assert!(matches!(cancelled.cancel().await.unwrap().decided, Some(Outcome::Aborted(_))));
    assert_eq!(values(&cluster).await, [some("7"), some("3"), some("4"), None]);
    pass(&client, 3 * MANY, 1).await;
    for who in [BANK_A, BANK_B] {
        until("nothing is open any more", async || (known_at(&cluster, who).await.1 == 0).then_some(())).await;
    }
}
