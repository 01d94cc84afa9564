//! The bank over a real PostgreSQL and a store, with kills of everybody.

use crate::support::programs;
use std::time::Duration;
use undoubt::databases::{Databases, DatabasesReport, databases};

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_between_postgresql_and_the_store_in_every_mode_while_each_of_them_is_killed() {
    let shortened = Databases { kills: 4, stretch: Duration::from_millis(500), ..Databases::default() };
    let report = databases(&programs(), shortened, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:#?}");
    for mode in ["two-phase committed", "saga committed", "auto committed"] {
        assert!(report.transfers.contains_key(mode), "{report:#?}");
    }
    let broken: [fn(&mut DatabasesReport); 8] = [
        |report| report.torn = 1,
        |report| report.money_off = -1,
        |report| report.prepared = 1,
        |report| report.in_transaction = 1,
        |report| report.pending = 1,
        |report| report.open_transactions = 1,
        |report| report.open_branches = 1,
        |report| report.damaged_transactions = 1,
    ];
    for (place, broken) in broken.into_iter().enumerate() {
        let mut report = report.clone();
        broken(&mut report);
        assert!(!report.is_clean(), "{place} goes unnoticed");
    }
}
