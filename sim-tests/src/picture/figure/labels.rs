//! Labels: gathered first, so that time can make room for them; drawn last, so that no line crosses them out.

use super::Placed;
use crate::picture::layout::{Column, Lane, Lanes, Place, Wanted};
use crate::picture::svg::{At, Svg};
use crate::picture::words;
use crate::plan::Host;

#[derive(Debug, Default)]
pub(super) struct Labels {
    pub wanted: Vec<Wanted>,
    texts: Vec<Text>,
}

#[derive(Debug)]
struct Text {
    class: &'static str,
    text: String,
}

impl Labels {
    /// Next to a host's lane.
    pub fn event(&mut self, host: Host, at_us: u64, class: &'static str, text: String) {
        self.add(Wanted { at_us, column: Column::Events(host), place: Place::Beside }, class, text)
    }

    pub fn margin(&mut self, at_us: u64, class: &'static str, text: String) {
        self.add(Wanted { at_us, column: Column::Margin, place: Place::Beside }, class, text)
    }

    /// Places a label where a message meets the participant's lane: best below as it arrives, above as it leaves.
    pub fn message(&mut self, participant: Host, at_us: u64, place: Place, class: &'static str, text: String) {
        self.add(Wanted { at_us, column: Column::Messages(participant), place }, class, text)
    }

    pub fn draw(&self, placed: &Placed<'_>, svg: &mut Svg) {
        for ((wanted, label), baseline) in self.wanted.iter().zip(&self.texts).zip(&placed.baselines) {
            let (x, end) = match wanted.column {
                Column::Margin => (placed.lanes.right() + 14, false),
                Column::Messages(host) => match placed.lanes.of(host) {
                    Some(lane) => (lane.line - 8, true),
                    None => continue,
                },
                Column::Events(host) => match placed.lanes.of(host) {
                    Some(lane) => (lane.events, lane.events < lane.line),
                    None => continue,
                },
            };
            let clipped = words::clip(&label.text, room(wanted.column));
            let whole = if clipped == label.text { String::new() } else { super::title(&label.text) };
            svg.text(label.class, At { x, y: *baseline }, end, &clipped, &whole);
        }
    }

    fn add(&mut self, wanted: Wanted, class: &'static str, text: String) {
        self.wanted.push(wanted);
        self.texts.push(Text { class, text });
    }
}

fn room(column: Column) -> usize {
    match column {
        Column::Margin => Lanes::MARGIN_CHARS,
        Column::Messages(_) => Lane::MESSAGE_CHARS,
        Column::Events(host) => Lane::event_chars(host),
    }
}
