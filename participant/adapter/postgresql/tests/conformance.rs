//! PostgreSQL keeps the contract of a resource.

mod support;

use support::world::Databases;
use undoubt_participant::conformance;

#[tokio::test]
async fn postgresql_conforms_as_a_resource_that_takes_steps() {
    let mut world = Databases::new().await;
    conformance::steps(&mut world).await;
    conformance::semantic_locks(&mut world).await;
}

#[tokio::test]
async fn postgresql_conforms_as_a_resource_that_takes_the_steps_of_open_sagas() {
    let mut world = Databases::new().await;
    conformance::open_sagas(&mut world).await;
    conformance::unclear_ends(&mut world).await;
}

#[tokio::test]
async fn postgresql_conforms_as_a_resource_that_prepares() {
    let mut world = Databases::new().await;
    conformance::branches(&mut world).await;
    conformance::read_only(&mut world).await;
}

#[tokio::test]
async fn postgresql_conforms_where_branches_and_steps_wait_for_locks() {
    let mut world = Databases::new().await;
    conformance::waits(&mut world).await;
    conformance::steps_beside_branches(&mut world).await;
    conformance::bounded_results(&mut world).await;
}

#[tokio::test]
async fn postgresql_conforms_where_answers_are_lost() {
    conformance::unclear(&mut Databases::new().await).await;
}

#[tokio::test]
async fn postgresql_conforms_as_a_resource_that_numbers_its_writes() {
    conformance::numbered(&mut Databases::new().await).await;
}

#[tokio::test]
async fn postgresql_conforms_where_others_end_its_branches() {
    conformance::other_hands(&mut Databases::new().await).await;
}

#[tokio::test]
async fn postgresql_conforms_where_prepares_land_late() {
    conformance::late_prepares(&mut Databases::new().await).await;
}

#[tokio::test]
async fn declared_keys_let_the_older_wait_and_refuse_the_younger() {
    let mut world = Databases::with_declared_keys().await;
    conformance::wait_die(&mut world).await;
    conformance::waits(&mut world).await;
    conformance::read_only(&mut world).await;
}
