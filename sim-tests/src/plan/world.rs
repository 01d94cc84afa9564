//! The kinds of worlds that a sweep can ask for.

use super::{Mutant, Plan};
use serde::{Deserialize, Serialize};

/// The part of a world that is the same in all seeds of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// As each seed has it.
    #[default]
    Drawn,
    /// A disk is put back, or two.
    PutBack,
    /// Some participants stand in front of databases, or all.
    Databases,
    /// Many transactions are open sagas.
    OpenSagas,
    /// Some participants call HTTP services, or all; many transactions are open.
    Http,
    /// Participants publish events, which others read.
    Events,
}

impl World {
    /// Returns the worlds in which a planted bug shows.
    pub fn of(mutant: Mutant) -> World {
        if mutant.is_about_disks_put_back() {
            World::PutBack
        } else if mutant.is_about_databases() {
            World::Databases
        } else if mutant.is_about_services() {
            World::Http
        } else if mutant.is_about_events() {
            World::Events
        } else if mutant.is_about_nested_sagas() {
            World::OpenSagas
        } else {
            World::Drawn
        }
    }
}

/// Returns the plan of a seed in such a world, with a bug planted into it.
pub fn plan_of(seed: u64, world: World, mutant: Option<Mutant>) -> Plan {
    let plan = match world {
        World::Drawn => Plan::of_seed(seed),
        World::PutBack => Plan::with_a_disk_put_back(seed),
        World::Databases => Plan::with_databases(seed),
        World::OpenSagas => Plan::with_open_sagas(seed),
        World::Http => Plan::with_services(seed),
        World::Events => Plan::with_events(seed),
    };
    Plan { mutant, ..plan }
}
