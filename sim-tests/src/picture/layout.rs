//! The places of things: time to height, hosts to lanes. Pure.

use super::svg::At;
use crate::plan::Host;
use std::collections::{BTreeMap, BTreeSet};

/// Time runs down the page. Between two things that happen it runs evenly, except that
/// * quiet stretches longer than [`Scale::QUIET_US`] are shortened, each with a [`Break`] to show for it;
/// * busy moments get as much room as their labels need.
#[derive(Debug)]
pub(super) struct Scale {
    /// Moments and their heights, both strictly ascending.
    knots: Vec<(u64, i32)>,
    breaks: Vec<Break>,
}

/// A shortened stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Break {
    pub from_us: u64,
    pub to_us: u64,
    /// The place of its mark: below all labels of what came before.
    pub mark: i32,
}

/// Labels in one column never cover each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    /// Next to a lane, where its host's own events are told.
    Events(Host),
    /// The column on the other side of a participant's lane, where messages arrive and leave.
    Messages(Host),
    /// Right of all lanes.
    Margin,
}

/// The way in which a label lies to the height of its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Above,
    Beside,
    Below,
}

/// A label that wants to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub at_us: u64,
    pub column: Column,
    pub place: Place,
}

/// The room that the labels of one moment and column need above and below it.
#[derive(Clone, Copy, Default)]
struct Room {
    above: i32,
    below: i32,
}

impl Room {
    /// Makes room for one more label and returns its baseline, from the moment's height.
    fn take(&mut self, place: Place) -> i32 {
        const LINE: i32 = Scale::LINE;
        match place {
            Place::Above => {
                self.above += LINE;
                9 - self.above
            }
            Place::Beside if self.above == 0 && self.below == 0 => {
                *self = Room { above: LINE / 2, below: LINE - LINE / 2 };
                4
            }
            Place::Beside | Place::Below => {
                self.below += LINE;
                self.below - 3
            }
        }
    }
}

impl Scale {
    pub const TOP: i32 = 16;
    pub const LINE: i32 = 13;
    const PX_PER_MS: u64 = 3;
    pub const QUIET_US: u64 = 20_000;
    const BREAK: i32 = 40;

    /// Returns a layout in which everything between the start of the run and its end has a height.
    pub fn new(moments: &BTreeSet<u64>, labels: &[Wanted], end_us: u64) -> Scale {
        let mut rooms: BTreeMap<u64, BTreeMap<Column, Room>> = BTreeMap::new();
        for moment in moments.iter().copied().chain([0, end_us]) {
            rooms.entry(moment).or_default();
        }
        for label in labels {
            let columns = rooms.entry(label.at_us).or_default();
            columns.entry(label.column).or_default().take(label.place);
        }
        let mut scale = Scale { knots: Vec::with_capacity(rooms.len()), breaks: Vec::new() };
        let mut taken: BTreeMap<Column, i32> = BTreeMap::new();
        for (moment, columns) in rooms {
            let fits = columns.iter().map(|(column, room)| taken.get(column).unwrap_or(&0) + room.above).max();
            let mut y = fits.unwrap_or(0).max(Scale::TOP);
            if let Some(&(before, above)) = scale.knots.last() {
                let gap = moment - before;
                let evenly = gap.min(Scale::QUIET_US) * Scale::PX_PER_MS / 1_000;
                y = y.max(above + 1 + evenly as i32);
                if gap > Scale::QUIET_US {
                    let free = taken.values().copied().max().unwrap_or(0).max(above + 8);
                    y = y.max(free + Scale::BREAK);
                    scale.breaks.push(Break { from_us: before, to_us: moment, mark: y - Scale::BREAK / 2 - 4 });
                }
            }
            for (column, room) in columns {
                taken.insert(column, y + room.below);
            }
            scale.knots.push((moment, y));
        }
        scale
    }

    pub fn y(&self, at_us: u64) -> i32 {
        let next = self.knots.partition_point(|(moment, _)| *moment < at_us);
        match (next.checked_sub(1).and_then(|before| self.knots.get(before)), self.knots.get(next)) {
            (Some((from, top)), Some((to, bottom))) => {
                let part = (at_us - from) as f64 / (to - from) as f64;
                top + (part * f64::from(bottom - top)) as i32
            }
            (None, Some((_, y))) | (Some((_, y)), None) => *y,
            (None, None) => Scale::TOP,
        }
    }

    /// The labels' baselines, in their order.
    pub fn place(&self, labels: &[Wanted]) -> Vec<i32> {
        let mut rooms: BTreeMap<(u64, Column), Room> = BTreeMap::new();
        let baseline = |label: &Wanted| {
            self.y(label.at_us) + rooms.entry((label.at_us, label.column)).or_default().take(label.place)
        };
        labels.iter().map(baseline).collect()
    }

    pub fn breaks(&self) -> &[Break] {
        &self.breaks
    }

    /// Returns true if the stretch is shortened: nothing that lies wholly within it can be told apart.
    pub fn is_shortened(&self, from_us: u64, to_us: u64) -> bool {
        let next = self.breaks.partition_point(|it| it.to_us <= from_us);
        self.breaks.get(next).is_some_and(|it| it.from_us < from_us && to_us < it.to_us)
    }

    /// The moments that are worth a time label, with their heights: the edges of breaks, and others where there is room.
    pub fn ticks(&self) -> Vec<(u64, i32)> {
        const LOOSE: i32 = 30;
        const TIGHT: i32 = 11;
        let edges: BTreeSet<u64> = self.breaks.iter().flat_map(|it| [it.from_us, it.to_us]).collect();
        let mut ticks: Vec<(u64, i32)> = Vec::new();
        for &(moment, y) in &self.knots {
            let room = if edges.contains(&moment) { TIGHT } else { LOOSE };
            if ticks.last().is_none_or(|(_, last)| y - last >= room) {
                ticks.push((moment, y));
            }
        }
        ticks
    }

    /// Returns the height below the last moment and all labels but the last's.
    pub fn height(&self) -> i32 {
        self.knots.last().map_or(Scale::TOP, |(_, y)| *y)
    }
}

/// A host's strip of the picture, from left to right: labels, line, bars, labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub host: Host,
    pub left: i32,
    pub line: i32,
    pub right: i32,
    /// The place where labels in [`Column::Events`] begin, or end if they are left of the line.
    pub events: i32,
}

impl Lane {
    pub const TRACK: i32 = 10;
    pub const MAX_TRACKS: usize = 12;
    /// The number of characters that fit into the columns.
    pub const MESSAGE_CHARS: usize = 20;
    const CHAR: i32 = 6;

    pub fn event_chars(host: Host) -> usize {
        match host {
            Host::Coordinator | Host::Standby => 28,
            Host::Participant(_) | Host::Database(_) | Host::Service(_) => 20,
            Host::Client(_) | Host::Reader(_) => 24,
        }
    }

    /// Returns the place where the bars of this track begin.
    pub fn track(&self, track: usize) -> i32 {
        self.line + 6 + track as i32 * Lane::TRACK
    }

    pub fn on_line(&self, y: i32) -> At {
        At { x: self.line, y }
    }

    pub fn width(&self) -> i32 {
        self.right - self.left
    }
}

/// Clients, then coordinators, participants, their databases and services, next to each other.
#[derive(Debug)]
pub(super) struct Lanes(Vec<Lane>);

impl Lanes {
    /// The width of what is left of all lanes: the time.
    pub const LEFT: i32 = 84;
    pub const MARGIN_CHARS: usize = 44;
    const GAP: i32 = 8;

    /// Returns lanes for hosts with so many tracks of bars.
    pub fn new(hosts: &BTreeMap<Host, usize>) -> Lanes {
        let order = |host: &Host| match host {
            Host::Client(number) => (0, *number),
            Host::Coordinator => (1, 0),
            Host::Standby => (2, 0),
            Host::Participant(number) => (3, *number),
            Host::Database(number) => (4, *number),
            Host::Service(number) => (5, *number),
            Host::Reader(number) => (6, *number),
        };
        let mut sorted: Vec<Host> = hosts.keys().copied().collect();
        sorted.sort_by_key(order);
        let mut left = Lanes::LEFT;
        let mut lanes = Vec::with_capacity(sorted.len());
        for host in sorted {
            let mut lane = Lane { host, left, line: 0, right: 0, events: 0 };
            let labels = Lane::event_chars(host) as i32 * Lane::CHAR;
            let bars = 10 + hosts[&host].clamp(1, Lane::MAX_TRACKS) as i32 * Lane::TRACK;
            (lane.line, lane.events, lane.right) = match host {
                Host::Coordinator | Host::Standby => {
                    let line = left + labels + 12;
                    (line, line - 10, line + 14)
                }
                Host::Client(_) | Host::Reader(_) => (left + 10, left + 10 + bars, left + 10 + bars + labels),
                Host::Participant(_) | Host::Database(_) | Host::Service(_) => {
                    let line = left + Lane::MESSAGE_CHARS as i32 * Lane::CHAR + 10;
                    (line, line + bars, line + bars + labels)
                }
            };
            left = lane.right + Lanes::GAP;
            lanes.push(lane);
        }
        Lanes(lanes)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.0.iter()
    }

    pub fn of(&self, host: Host) -> Option<&Lane> {
        self.iter().find(|lane| lane.host == host)
    }

    pub fn right(&self) -> i32 {
        self.0.last().map_or(Lanes::LEFT, |lane| lane.right)
    }

    /// Returns the width of the whole picture.
    pub fn width(&self) -> i32 {
        self.right() + 16 + Lanes::MARGIN_CHARS as i32 * Lane::CHAR
    }
}

/// Gives each span of time the first track that is free; there are no more than [`Lane::MAX_TRACKS`].
pub(super) fn tracks(spans: &[(u64, u64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|at| spans[*at]);
    let mut busy_until: Vec<u64> = Vec::new();
    let mut tracks = vec![0; spans.len()];
    for at in order {
        let (from, to) = spans[at];
        let free = busy_until.iter().position(|until| *until < from);
        let track = free.unwrap_or(busy_until.len()).min(Lane::MAX_TRACKS - 1);
        match busy_until.get_mut(track) {
            Some(until) => *until = to.max(*until),
            None => busy_until.push(to),
        }
        tracks[at] = track;
    }
    tracks
}

#[cfg(test)]
mod tests;
