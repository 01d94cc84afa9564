//! A stand-in for an HTTP service, on a machine of its own, and the participant that calls it: the adapter that ships, over its own
//! connections.
//!
//! The service keeps the contract of `participant/HTTP.md`, and uses all that it allows: it holds what is tried against others, and lets them
//! wait, then says so (423), which it does not keep; it refuses for good what it keeps as refused (409); it says that it is at
//! it (425) where a request comes beside an earlier one. What it has done is on a disk of its own before it answers.
//!
//! | file | what |
//! | --- | --- |
//! | `wire` | a request as the service reads it, its answer, and how that travels |
//! | `books` | what the service keeps |
//! | `desk` | what it makes of a request |
//! | `server` | the machine: opens its disk, takes connections, troubles callers, lets other hands do what they do |
//! | `participant` | the participant, over its network |

mod books;
mod desk;
mod participant;
mod server;
mod wire;

pub(super) use books::{EFFECT, effect_of};
pub(super) use participant::resource;
pub(super) use server::serve;
pub(super) use wire::{Body, url};
