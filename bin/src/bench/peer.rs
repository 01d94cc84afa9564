//! Peers on the same machine in the same minutes. Who is not installed is skipped, and the report says so.

pub mod dtmrs;

use super::finding::{Finding, Goal};
use super::load::{Length, Mode, Pace, Shape};
use super::stage::{Stage, measure, names};
use super::{Effort, Report};
use crate::bench::by_hand;
use dtmrs::Dtmrs;
use std::time::Duration;
use undoubt_test_servers::{Postgres, ServerError};

/// The database in which it is done by hand, and its clients.
const DATABASE: &str = "postgres";
const CLIENTS: usize = 64;

pub const HOW_TO_INSTALL: &str = "`make bench PEERS=1` installs it";

pub async fn peers(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let settings = [("max_prepared_transactions", "256"), ("max_connections", "256")];
    let postgres = match Postgres::start(&settings).await {
        Ok(postgres) => postgres,
        Err(missing @ ServerError::Missing { .. }) => {
            report.skip("peer/postgresql and peer/dtmrs", format!("{missing}; {HOW_TO_INSTALL}"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    by_hand::fill(&postgres, DATABASE).await?;
    let cluster = stage.cluster(2).await?;
    let length = Length { warm_up: Duration::from_millis(500), measured: effort.measured };
    let pace = Pace::Closed { in_flight: 4_096 };
    let (mut theirs, mut times) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let by_hand = by_hand::postgresql(&postgres, DATABASE, CLIENTS, effort.measured).await?;
        let (ours, _) = measure(&cluster, &Shape::new(&stage.run_name(), &names(2)), pace, length).await?;
        theirs.push(by_hand);
        times.push(ours.per_s() / by_hand);
    }
    report
        .add(Finding::of_rounds("peer/postgresql-by-hand/2pc", theirs, "tx/s").note("pgbench, 64 clients, two tables"));
    report.add(Finding::of_rounds("2pc/participants=2/times-postgresql-by-hand", times, "x"));

    let Some(program) = dtmrs::program() else {
        report.skip("peer/dtmrs", format!("it is not installed; {HOW_TO_INSTALL}"));
        return Ok(());
    };
    let peer = Dtmrs::start(&program, &postgres, &stage.service().await?).await?;
    let (mut theirs, mut ours, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let their = peer.sagas_per_s(&postgres, &stage.run_name(), CLIENTS, effort.measured).await?;
        let shape = Shape { mode: Mode::Saga, ..Shape::new(&stage.run_name(), &names(2)) };
        let (our, _) = measure(&cluster, &shape, pace, length).await?;
        theirs.push(their);
        ours.push(our.per_s());
        times.push(our.per_s() / their);
    }
    report
        .add(Finding::of_rounds("peer/dtmrs-on-postgresql/saga/steps=2", theirs, "tx/s").note("its steps do nothing"));
    report.add(Finding::of_rounds("saga/steps=2/rate-beside-dtmrs", ours, "tx/s"));
    report.add(Finding::of_rounds("saga/steps=2/times-dtmrs", times, "x").goal(Goal::AtLeast(20.0)));
    Ok(())
}
