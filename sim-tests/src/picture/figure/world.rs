//! The things that are not about one transaction: time, lanes, crashes, disks, faults, healing; and where rules were
//! violated.

use super::labels::Labels;
use super::{Placed, title};
use crate::picture::layout::Lanes;
use crate::picture::scene::Scene;
use crate::picture::story::{Band, Moment, Sort};
use crate::picture::svg::{At, Svg};
use crate::picture::words::{seconds, span};
use crate::picture::{MAX_VIOLATIONS, Shown};
use std::collections::BTreeSet;

#[derive(Debug)]
pub(super) struct World<'s> {
    scene: &'s Scene<'s>,
    /// The violations, with their places in the list, and when each shows.
    violations: Vec<(usize, &'s Shown, u64)>,
}

impl<'s> World<'s> {
    /// Returns the world with `all` violations, or with those about the scene's transactions and those about none.
    pub fn new(
        scene: &'s Scene<'s>,
        violations: &'s [Shown],
        all: bool,
        labels: &mut Labels,
        moments: &mut BTreeSet<u64>,
    ) -> World<'s> {
        for (host, moment) in scene.moments.iter().filter(|(host, _)| scene.hosts.contains(host)) {
            labels.event(*host, moment.at_us, class(moment), moment.text.clone());
        }
        for band in &scene.bands {
            moments.extend(band.to_us);
            labels.margin(band.from_us, "fault", format!("{}. {}", band.index, band.what));
        }
        if let Some(at_us) = scene.story.healed_us {
            labels.margin(at_us, "healed", "healed".to_owned());
        }
        let shown = violations.iter().take(MAX_VIOLATIONS).enumerate();
        let shown = shown.filter(|(_, shown)| all || is_about(scene, shown));
        let violations: Vec<_> = shown.map(|(at, shown)| (at, shown, seen_us(scene, shown))).collect();
        for (at, shown, at_us) in &violations {
            labels.margin(*at_us, "violation", format!("✗ {} {}", at + 1, shown.rule));
        }
        World { scene, violations }
    }

    pub fn draw_below(&self, placed: &Placed<'_>, svg: &mut Svg) {
        for band in &self.scene.bands {
            draw_band(placed, band, svg);
        }
        draw_time(placed, svg);
        for lane in placed.lanes.iter() {
            let gaps = self.scene.story.lives.get(&lane.host).map_or([].as_slice(), |life| &life.gaps);
            svg.line("lane", lane.on_line(0), lane.on_line(placed.height));
            for gap in gaps {
                let to_us = gap.to_us.unwrap_or(self.scene.story.end_us);
                let (top, bottom) = (placed.y(gap.from_us), placed.y(to_us));
                let (class, what) = if gap.paused { ("gap paused", "paused") } else { ("gap", "down") };
                let until = gap.to_us.map_or_else(|| "for good".to_owned(), |to_us| format!("to {}", seconds(to_us)));
                svg.open(class, &format!("{} {what} from {} {until}", lane.host, seconds(gap.from_us)));
                svg.rect("", At { x: lane.line - 5, y: top }, 10, (bottom - top).max(1));
                svg.close();
            }
        }
    }

    pub fn draw_above(&self, placed: &Placed<'_>, anchors: bool, svg: &mut Svg) {
        for (host, moment) in &self.scene.moments {
            let Some(lane) = placed.lanes.of(*host) else { continue };
            let at = At { x: lane.line - 4, y: placed.y(moment.at_us) - 2 };
            svg.open(class(moment), &title(&format!("{}: {host} {}", seconds(moment.at_us), moment.text)));
            svg.rect("", at, 8, 4);
            svg.close();
        }
        if let Some(at_us) = self.scene.story.healed_us {
            let title = format!("{}: from here on nothing goes wrong any more", seconds(at_us));
            svg.open("healed", &title);
            across(placed, placed.y(at_us), svg);
            svg.close();
        }
        for (at, shown, at_us) in &self.violations {
            let title = title(&format!("{}: {}: {}", seconds(*at_us), shown.rule, shown.what));
            match anchors {
                true => svg.open_at(&format!("v{at}"), "violation", &title),
                false => svg.open("violation", &title),
            }
            across(placed, placed.y(*at_us), svg);
            svg.close();
        }
    }
}

fn class(moment: &Moment) -> &'static str {
    match moment.sort {
        Sort::Up => "moment up",
        Sort::Down => "moment down",
        Sort::Disk => "moment disk",
    }
}

/// Returns when it happened; else when last something was heard of its transaction; else the end.
fn seen_us(scene: &Scene<'_>, shown: &Shown) -> u64 {
    let tx = shown.tx.as_deref().and_then(|id| scene.story.find(id));
    let last_us = tx.map(|at| scene.story.txs[at].last_us);
    let end_us = scene.story.end_us;
    shown.at_us.or(last_us).unwrap_or(end_us).min(end_us)
}

fn is_about(scene: &Scene<'_>, shown: &Shown) -> bool {
    shown.tx.as_deref().is_none_or(|id| scene.txs.iter().any(|tx| tx.id == id))
}

fn across(placed: &Placed<'_>, y: i32, svg: &mut Svg) {
    svg.line("", At { x: Lanes::LEFT - 6, y }, At { x: placed.lanes.right() + 8, y });
}

fn draw_band(placed: &Placed<'_>, band: &Band<'_>, svg: &mut Svg) {
    let until = band.to_us.map(|to_us| format!(" until {}", seconds(to_us))).unwrap_or_default();
    let text = format!("fault {}, {}{until}: {}", band.index, seconds(band.from_us), band.what);
    svg.open("fault", &title(&text));
    let (top, bottom) = (placed.y(band.from_us), placed.y(band.to_us.unwrap_or(band.from_us)));
    let lanes: Vec<_> = band.hosts.iter().filter_map(|host| placed.lanes.of(*host)).collect();
    for lane in &lanes {
        svg.rect("", At { x: lane.left, y: top }, lane.width(), (bottom - top).max(3));
    }
    let x = lanes.iter().map(|lane| lane.left).min().unwrap_or(Lanes::LEFT);
    svg.line("", At { x, y: top }, At { x: placed.lanes.right() + 10, y: top });
    svg.close();
}

fn draw_time(placed: &Placed<'_>, svg: &mut Svg) {
    let right = placed.lanes.right();
    for (at_us, y) in placed.scale.ticks() {
        svg.line("tick", At { x: Lanes::LEFT - 8, y }, At { x: right, y });
        svg.text("time", At { x: Lanes::LEFT - 10, y: y + 4 }, true, &seconds(at_us), "");
    }
    for shortened in placed.scale.breaks() {
        let (from, to) = (seconds(shortened.from_us), seconds(shortened.to_us));
        let length = span(shortened.to_us - shortened.from_us);
        svg.open("break", &format!("{from} to {to}: {length}, shortened; nothing of what is shown here happens"));
        // The pattern repeats every 8 pixels.
        let top = At { x: Lanes::LEFT - 8, y: (shortened.mark - 4) / 8 * 8 };
        svg.rect("", top, right - top.x, 8);
        svg.text("", At { x: Lanes::LEFT - 10, y: top.y + 8 }, true, &format!("⋮ {length}"), "");
        svg.close();
    }
}
