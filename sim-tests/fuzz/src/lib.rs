//! Targets for fuzzing: every decoder that faces the network or the disk, as a function of bytes.
//!
//! Each of them holds to this, whatever the bytes: it does not panic; it takes memory by a bounded factor of what it was given; what it reads is
//! written again as something that reads as the same, where there is a writer; and what it refuses it refuses with words.
//!
//! `make fuzz` drives them by coverage (`coverage/`, a workspace of its own on a nightly compiler); `tests/targets.rs`, a part of
//! `make test`, with the kept inputs in `corpus/` and changes of these. Both find the targets in [`targets`].

mod databases;
mod files;
mod network;
mod provider;
mod served;
mod services;
mod stored;
mod texts;
mod wire;
mod work;

use peak_alloc::PeakAlloc;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The memory that a target may take beside what grows with its input: tables that are made once, and the buffers of a connection.
const FIXED_BYTES: usize = 4 << 20;

/// The longest refusal, beside what it repeats of its input.
const MAX_REFUSAL_BYTES: usize = 4 << 10;

/// The longest input that is worth trying: no decoder knows more than a few structures in a row.
pub const MAX_INPUT_BYTES: usize = 4 << 10;

/// A decoder that is given bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub decode: fn(&[u8]),
    /// The bytes of memory that it may take for each of its input.
    pub growth: usize,
    /// Returns inputs that are whole, by the real encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Returns all targets.
pub fn targets() -> Vec<Target> {
    let of_files = [files::TARGETS, provider::TARGETS, databases::TARGETS, services::TARGETS].concat();
    [wire::TARGETS, work::TARGETS, stored::TARGETS, &of_files, texts::TARGETS, network::TARGETS, served::TARGETS]
        .concat()
}

/// Returns the target of this name.
pub fn target(name: &str) -> Option<Target> {
    targets().into_iter().find(|target| target.name == name)
}

/// A task of a runtime that panics does so in silence, so it is noted.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Notes panics wherever they happen, before the former hook hears of them.
pub fn note_panics() {
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::SeqCst);
        former(panic);
    }));
}

impl Target {
    /// Tries one input. Inputs are tried one after the other: memory is counted for the whole process.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn try_out(&self, input: &[u8]) {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        (self.decode)(input);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        let allowed = FIXED_BYTES + self.growth * input.len();
        assert!(taken <= allowed, "{} took {taken} bytes for {}, more than {allowed}", self.name, input.len());
        assert!(!PANICKED.load(Ordering::SeqCst), "{}: a task has panicked", self.name);
    }
}

/// Checks that a refusal says something, and not without end.
pub(crate) fn says_why(why: &impl Display, input: &[u8]) {
    let text = why.to_string();
    assert!(!text.trim().is_empty(), "a refusal without words");
    let most = MAX_REFUSAL_BYTES + 8 * input.len();
    assert!(text.len() <= most, "a refusal of {} bytes: {}", text.len(), &text[..text.floor_char_boundary(300)]);
}
