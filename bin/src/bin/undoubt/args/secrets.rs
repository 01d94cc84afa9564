//! The arguments of commands that make tokens and certificates.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The actions on tokens.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum TokensAction {
    /// Prints a new token, and the hash that servers know it by.
    New,
}

/// The actions on certificates.
#[derive(Debug, Subcommand)]
pub enum CertsAction {
    Init(InitCerts),
}

/// Makes a CA and certificates for a first cluster, and a file of identities that goes with them.
///
/// For each name there are NAME.crt and NAME.key. Who can read ca.key can make more: keep it away from the servers, or delete it.
/// Run again on the same folder, it adds certificates of the same CA.
#[derive(Debug, Args)]
pub struct InitCerts {
    /// The folder to put them in.
    pub folder: PathBuf,
    /// A server, and the host names and addresses under which it is called. May be repeated.
    #[arg(long, value_name = "NAME=HOST,…", value_parser = undoubt::settings::parse_assignment)]
    pub server: Vec<undoubt::settings::Given>,
    /// A caller, and its roles: submit, read, operate, coordinator, delegate. May be repeated.
    #[arg(long, value_name = "NAME=ROLE,…", value_parser = undoubt::settings::parse_assignment)]
    pub client: Vec<undoubt::settings::Given>,
    /// The days for which they are valid.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}
