//! Tests of real processes: the binaries as people run them, killed and restarted, asked over gRPC and from the command
//! line.
//!
//! One program, because each takes half a minute to compile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod support;

mod aborts;
mod alerts;
mod audit;
mod backups;
mod bounds;
mod callbacks;
mod choreography;
mod circles;
mod command_line;
mod configuration;
mod conformance;
mod connections;
mod databases;
mod demo;
mod ends;
mod enlisted;
mod events_in_databases;
mod examples;
mod figures;
mod folders;
mod foreign_commits;
mod full_disk;
mod gateway;
mod gateway_alone;
mod heuristics;
mod identity;
mod kept_formats;
mod kinds;
mod large_values;
mod life;
mod limits;
mod log_readers;
mod lost_answers;
mod memory;
mod nested_sagas;
mod open_sagas;
mod open_sagas_in_databases;
mod operators;
mod outcomes;
mod owner_only;
mod passed_sagas;
mod pins;
mod provider;
mod readers;
mod refusals;
mod reloads;
mod restored_databases;
mod restored_folders;
mod sagas;
mod secured;
mod secured_callbacks;
mod serve;
mod service_kills;
mod sessions;
mod sizes;
mod supervisor;
mod top;
mod traces;
mod two_machines;
mod views;
