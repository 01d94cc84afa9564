//! A scene as a space-time diagram.
//!
//! What stands out is drawn last: bands of faults lie under the lanes, others' doings under the lock bars, those under
//! messages; and no line crosses a label out.

mod bars;
mod labels;
mod messages;
mod world;

use super::Shown;
use super::layout::{Lanes, Scale};
use super::scene::Scene;
use super::svg::{At, Svg};
use super::words;
use bars::Bars;
use labels::Labels;
use std::collections::{BTreeMap, BTreeSet};
use world::World;

/// The things that have found their places.
struct Placed<'s> {
    scene: &'s Scene<'s>,
    scale: Scale,
    lanes: Lanes,
    baselines: Vec<i32>,
    height: i32,
}

/// Two drawings: the hosts' names, to stay in sight, and what they did. With `anchors`, links to violations lead here.
pub(super) fn draw(scene: &Scene<'_>, violations: &[Shown], anchors: bool) -> String {
    let mut labels = Labels::default();
    let mut moments = BTreeSet::new();
    let world = World::new(scene, violations, anchors, &mut labels, &mut moments);
    messages::label(scene, &mut labels, &mut moments);
    let bars = Bars::new(scene, &mut labels, &mut moments);

    let scale = Scale::new(&moments, &labels.wanted, scene.story.end_us);
    let bars = bars.on_tracks(&scale);
    let hosts: BTreeMap<_, _> = scene.hosts.iter().map(|host| (*host, bars.tracks_of(*host))).collect();
    let lanes = Lanes::new(&hosts);
    let baselines = scale.place(&labels.wanted);
    let height = baselines.iter().copied().max().unwrap_or(0).max(scale.height()) + Scale::LINE;
    let placed = Placed { scene, scale, lanes, baselines, height };

    let mut svg = Svg::default();
    world.draw_below(&placed, &mut svg);
    messages::draw_others(&placed, &mut svg);
    bars.draw(&placed, &mut svg);
    messages::draw(&placed, &mut svg);
    world.draw_above(&placed, anchors, &mut svg);
    labels.draw(&placed, &mut svg);
    let names = names(&placed.lanes);
    let width = placed.lanes.width();
    format!("{}{}", names.finish("names", width, 24), svg.finish("diagram", width, height + 4))
}

fn names(lanes: &Lanes) -> Svg {
    let mut svg = Svg::default();
    svg.text("time", At { x: Lanes::LEFT - 10, y: 16 }, true, "seconds", "");
    for lane in lanes.iter() {
        svg.line("lane", lane.on_line(19), lane.on_line(24));
        svg.text("host", At { x: lane.line - 4, y: 15 }, false, &lane.host.to_string(), "");
    }
    svg
}

impl Placed<'_> {
    fn y(&self, at_us: u64) -> i32 {
        self.scale.y(at_us)
    }
}

/// A label's name for what happens to a transaction: its id only where there are others.
fn named(scene: &Scene<'_>, what: &str, tx: &str) -> String {
    if scene.has_many() { format!("{what} {}", words::short(tx)) } else { what.to_owned() }
}

/// Titles, with ids of any length.
fn title(text: &str) -> String {
    const MOST: usize = 400;
    words::clip(text, MOST)
}
