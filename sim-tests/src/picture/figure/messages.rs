//! Messages as arrows, and what the coordinator noted meanwhile.

use super::labels::Labels;
use super::{Placed, named, title};
use crate::picture::layout::Place;
use crate::picture::scene::Scene;
use crate::picture::story::{Message, Note, Tx};
use crate::picture::svg::{At, Svg};
use crate::picture::words::{phase_name, seconds, span};
use crate::plan::Host;
use std::collections::BTreeSet;

/// The distance that a lost message falls, and how close it comes.
const FALL: i32 = 5;
const SHORT_OF: i32 = 12;

pub(super) fn label(scene: &Scene<'_>, labels: &mut Labels, moments: &mut BTreeSet<u64>) {
    for tx in &scene.txs {
        for message in &tx.messages {
            moments.extend([message.first_us(), message.last_us()]);
            label_message(scene, tx, message, labels);
        }
        for note in &tx.notes {
            moments.insert(note.at_us);
            if !note.is_drawn_anyway() {
                labels.event(note.host, note.at_us, "", named(scene, note.text, tx.id));
            }
        }
    }
}

fn label_message(scene: &Scene<'_>, tx: &Tx<'_>, message: &Message<'_>, labels: &mut Labels) {
    let how = match message {
        Message { arrived_us: None, under_way: false, .. } => " lost",
        Message { copy: true, .. } => " again",
        Message { overtaken: true, .. } => " late",
        Message { .. } => "",
    };
    let (class, text) = (kind(message.name), named(scene, &format!("{}{how}", message.name), tx.id));
    let (from_us, to_us) = (message.first_us(), message.last_us());
    match (message.from, message.to) {
        (_, to @ Host::Participant(_)) => match message.arrived_us {
            Some(_) => labels.message(to, to_us, Place::Below, class, text),
            None => labels.message(to, to_us, Place::Above, class, text),
        },
        // The label where it was sent is there already, or has no place.
        (Host::Participant(_), to) if message.copy || message.sent_us.is_none() => {
            labels.event(to, to_us, class, text);
        }
        (from @ Host::Participant(_), _) => labels.message(from, from_us, Place::Above, class, text),
        (from, _) => labels.event(from, from_us, class, text),
    }
}

pub(super) fn draw_others(placed: &Placed<'_>, svg: &mut Svg) {
    svg.open("others", "other transactions");
    for (tx, message) in placed.scene.others.iter().flat_map(|tx| tx.messages.iter().map(move |it| (tx, it))) {
        if !placed.scale.is_shortened(message.first_us(), message.last_us()) {
            arrow(placed, tx, message, svg);
        }
    }
    svg.close();
}

pub(super) fn draw(placed: &Placed<'_>, svg: &mut Svg) {
    for tx in &placed.scene.txs {
        for message in &tx.messages {
            arrow(placed, tx, message, svg);
        }
        for note in &tx.notes {
            draw_note(placed, tx, note, svg);
        }
    }
}

fn draw_note(placed: &Placed<'_>, tx: &Tx<'_>, note: &Note<'_>, svg: &mut Svg) {
    let Some(lane) = placed.lanes.of(note.host) else { return };
    let at = lane.on_line(placed.y(note.at_us));
    let phase = note.phase.map(|phase| format!(", {}", phase_name(phase))).unwrap_or_default();
    svg.open("note", &title(&format!("{}: {}{phase}, {}", seconds(note.at_us), note.text, tx.id)));
    match note.decision() {
        Some((commits, stable)) => {
            let what = if commits { "commit" } else { "abort" };
            svg.diamond(&format!("decision k-{what}{}", if stable { " stable" } else { "" }), at);
        }
        None => svg.dot("", at),
    }
    svg.close();
}

fn arrow(placed: &Placed<'_>, tx: &Tx<'_>, message: &Message<'_>, svg: &mut Svg) {
    let (Some(from), Some(to)) = (placed.lanes.of(message.from), placed.lanes.of(message.to)) else { return };
    let way = if from.line < to.line { 1 } else { -1 };
    let odd = if message.copy || message.overtaken || message.sent_us.is_none() { " odd" } else { "" };
    svg.open(&format!("message {}{odd}", kind(message.name)), &title(&describe(tx, message)));
    match (message.sent_us, message.arrived_us) {
        (Some(sent_us), Some(arrived_us)) => {
            let (start, end) = (from.on_line(placed.y(sent_us)), to.on_line(placed.y(arrived_us)));
            svg.line("", start, end);
            svg.head(start, end);
        }
        (Some(sent_us), None) => {
            let start = from.on_line(placed.y(sent_us));
            let end = At { x: to.line - way * SHORT_OF, y: start.y + FALL };
            svg.line("", start, end);
            if !message.under_way {
                svg.cross(end);
            }
        }
        (None, arrived_us) => {
            let end = to.on_line(placed.y(arrived_us.unwrap_or_default()));
            let start = At { x: end.x - way * 40, y: end.y - 4 };
            svg.line("", start, end);
            svg.head(start, end);
        }
    }
    svg.close();
}

fn describe(tx: &Tx<'_>, message: &Message<'_>) -> String {
    let Message { name, from, to, attempt_number, .. } = message;
    let sent =
        message.sent_us.map_or_else(|| "never known to be sent".to_owned(), |at| format!("sent {}", seconds(at)));
    let arrived = match (message.sent_us, message.arrived_us) {
        (Some(sent_us), Some(at)) => format!("arrived {}, after {}", seconds(at), span(at.saturating_sub(sent_us))),
        (None, Some(at)) => format!("arrived {}", seconds(at)),
        (_, None) if message.under_way => "still on its way when the run ended".to_owned(),
        (_, None) => "never arrived".to_owned(),
    };
    let copy = if message.copy { ", once more" } else { "" };
    let overtaken = if message.overtaken { ", behind what was sent after it" } else { "" };
    let number = message.number.map(|number| format!(", message {number}")).unwrap_or_default();
    format!("{name} {from} → {to}: {sent}, {arrived}{copy}{overtaken}; {}, attempt {attempt_number}{number}", tx.id)
}

/// The class that gives a message its colour.
fn kind(name: &str) -> &'static str {
    const KINDS: [&str; 9] = [
        "k-prepare",
        "k-vote",
        "k-confirm",
        "k-confirmed",
        "k-commit",
        "k-abort",
        "k-settle",
        "k-finished",
        "k-inquiry",
    ];
    KINDS.into_iter().find(|kind| kind.strip_prefix("k-") == Some(name)).unwrap_or("k-other")
}
