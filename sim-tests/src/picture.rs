//! A run as a picture, for somebody who has to understand why it failed.
//!
//! [`draw`] makes one HTML file that needs nothing else: a space-time diagram with a lane per host, time running down,
//! messages as arrows, locks as bars, faults as bands. It shows the transactions that the violations name; others can be
//! chosen. A file that is too large to open helps nobody: it stays under [`MAX_BYTES`] and says what it left out.
//! [`tell`] is the same for terminals, one line per event.

mod choice;
mod figure;
mod layout;
mod page;
mod scene;
mod story;
mod svg;
mod table;
mod text;
mod view;
mod words;

pub use text::tell;

use crate::run::Run;
use choice::Choice;
use story::Story;
use view::View;

/// A violated rule, as far as the picture needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub rule: String,
    pub what: String,
    pub tx: Option<String>,
    pub at_us: Option<u64>,
}

/// The most bytes of a file, however long the run.
pub const MAX_BYTES: usize = 2_000_000;

/// The bytes for the first picture, and for the table; the other pictures share the rest.
const FIRST_BYTES: usize = 700_000;
const TABLE_BYTES: usize = 500_000;

/// The bytes for all that is written between them.
const REST_BYTES: usize = 20_000;

/// Shown of one picture at most, of each sort.
const MAX_ITEMS: usize = 2_000;

/// More than these are not listed, only counted.
const MAX_VIOLATIONS: usize = 50;

/// The run as one HTML file. `command` replays it.
pub fn draw(run: &Run, violations: &[Shown], command: &str) -> String {
    let story = Story::of(run);
    let choice = Choice::of(&story, violations);
    let head = page::head(&story, violations, command, &choice);
    let mut room = (MAX_BYTES - TABLE_BYTES - REST_BYTES).saturating_sub(head.len());
    let mut views: Vec<View> = Vec::new();
    let mut undrawn = 0;
    for wanted in [choice.first_view()].into_iter().chain(choice.other_views()) {
        let first = views.is_empty();
        // The first has to be there. Of all transactions as many are drawn as fit; a single one whole or not at all.
        let (least, bytes) = match wanted.name.as_str() {
            _ if first => (0, FIRST_BYTES.min(room)),
            view::ALL => (1, room / 2),
            _ => (MAX_ITEMS, room),
        };
        match view::fitting(&story, violations, &wanted, first, (MAX_ITEMS, least), bytes) {
            Some(view) => {
                room = room.saturating_sub(view.html.len() + page::option(&view).len());
                views.push(view);
            }
            None => undrawn += wanted.txs.len().min(1),
        }
    }
    page::finish(head, &views, undrawn, &table::rows(&story, &choice, TABLE_BYTES))
}

#[cfg(test)]
mod tests;
