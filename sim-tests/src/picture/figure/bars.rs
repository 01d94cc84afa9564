//! Bars: locks that branches hold, and requests that clients wait for.

use super::labels::Labels;
use super::{Placed, named, title};
use crate::picture::layout::{Lane, Scale, tracks};
use crate::picture::scene::Scene;
use crate::picture::story::{Ask, End, Hold, Tx};
use crate::picture::svg::{At, Svg};
use crate::picture::words::{seconds, span, state_name};
use crate::plan::Host;
use crate::trace::BranchState;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Bar<'s> {
    host: Host,
    tx: &'s Tx<'s>,
    from_us: u64,
    to_us: u64,
    track: usize,
    what: What<'s>,
    /// None of those that matter.
    other: bool,
}

#[derive(Clone, Copy, Debug)]
enum What<'s> {
    Hold(&'s Hold),
    Ask(&'s Ask<'s>),
}

#[derive(Debug)]
pub(super) struct Bars<'s>(Vec<Bar<'s>>);

impl<'s> Bars<'s> {
    pub fn new(scene: &'s Scene<'s>, labels: &mut Labels, moments: &mut BTreeSet<u64>) -> Bars<'s> {
        let mut bars = Vec::new();
        for tx in &scene.txs {
            for hold in &tx.holds {
                moments.extend(hold.segments().flat_map(|(_, from_us, to_us)| [from_us, to_us]));
                label_hold(scene, tx, hold, labels);
                bars.push(hold_bar(tx, hold));
            }
            for ask in &tx.asks {
                labels.event(ask.host, ask.at_us, "", format!("▸ {}", named(scene, ask.what, tx.id)));
                if let Some((at_us, answer)) = ask.told {
                    labels.event(ask.host, at_us, "", format!("◂ {}", named(scene, answer, tx.id)));
                }
                let to_us = ask.told.map_or(scene.story.end_us, |(at_us, _)| at_us);
                let (host, from_us, what) = (ask.host, ask.at_us, What::Ask(ask));
                bars.push(Bar { host, tx, from_us, to_us, track: 0, what, other: false });
            }
        }
        for tx in &scene.others {
            let holds = tx.holds.iter().filter(|hold| scene.hosts.contains(&hold.host));
            bars.extend(holds.map(|hold| Bar { other: true, ..hold_bar(tx, hold) }));
        }
        Bars(bars)
    }

    /// Bars of one lane stand side by side.
    pub fn on_tracks(mut self, scale: &Scale) -> Bars<'s> {
        self.0.retain(|bar| !bar.other || !scale.is_shortened(bar.from_us, bar.to_us));
        let mut by_host: BTreeMap<Host, Vec<usize>> = BTreeMap::new();
        for (at, bar) in self.0.iter().enumerate() {
            by_host.entry(bar.host).or_default().push(at);
        }
        for bars in by_host.into_values() {
            let spans: Vec<(u64, u64)> = bars.iter().map(|at| (self.0[*at].from_us, self.0[*at].to_us)).collect();
            for (at, track) in bars.into_iter().zip(tracks(&spans)) {
                self.0[at].track = track;
            }
        }
        self
    }

    pub fn tracks_of(&self, host: Host) -> usize {
        self.0.iter().filter(|bar| bar.host == host).map(|bar| bar.track + 1).max().unwrap_or_default()
    }

    pub fn draw(&self, placed: &Placed<'_>, svg: &mut Svg) {
        for bar in &self.0 {
            let Some(lane) = placed.lanes.of(bar.host) else { continue };
            match bar.what {
                What::Hold(hold) => draw_hold(placed, lane, bar, hold, svg),
                What::Ask(ask) => draw_ask(placed, lane, bar, ask, svg),
            }
        }
    }
}

fn hold_bar<'s>(tx: &'s Tx<'s>, hold: &'s Hold) -> Bar<'s> {
    let (from_us, to_us, what) = (hold.first_us(), hold.to_us, What::Hold(hold));
    Bar { host: hold.host, tx, from_us, to_us, track: 0, what, other: false }
}

fn label_hold(scene: &Scene<'_>, tx: &Tx<'_>, hold: &Hold, labels: &mut Labels) {
    for (state, at_us) in &hold.states {
        labels.event(hold.host, *at_us, "", named(scene, state_name(*state), tx.id));
    }
    match hold.end {
        End::Over => {}
        End::Lost => labels.event(hold.host, hold.to_us, "", named(scene, "lost", tx.id)),
        End::Never { .. } => labels.event(hold.host, hold.to_us, "never", named(scene, "never over", tx.id)),
    }
}

const WIDTH: i32 = Lane::TRACK - 3;

fn draw_hold(placed: &Placed<'_>, lane: &Lane, bar: &Bar<'_>, hold: &Hold, svg: &mut Svg) {
    let x = lane.track(bar.track);
    let (never, end) = match hold.end {
        End::Over => ("", format!("over at {}", seconds(hold.to_us))),
        End::Lost => ("", format!("lost at {}, with the memory or the disk", seconds(hold.to_us))),
        End::Never { by_design: false } => (" never", "never over: it still holds its locks".to_owned()),
        End::Never { by_design: true } => (" never", "never over: its coordinator is lost for good".to_owned()),
    };
    let states: Vec<String> =
        hold.states.iter().map(|(at, us)| format!("{} {}", state_name(*at), seconds(*us))).collect();
    let held = span(bar.to_us.saturating_sub(bar.from_us));
    let text = format!("{}: {}, {end}; held for {held}", bar.tx.id, states.join(", "));
    svg.open(&format!("hold{never}{}", if bar.other { " other" } else { "" }), &title(&text));
    for (state, from_us, to_us) in hold.segments() {
        let (top, bottom) = (placed.y(from_us), placed.y(to_us));
        svg.rect(tone(state), At { x, y: top }, WIDTH, (bottom - top).max(2));
    }
    if never.is_empty() {
        let y = placed.y(hold.to_us);
        svg.line("end", At { x: x - 1, y }, At { x: x + WIDTH + 1, y });
    } else {
        svg.cross(At { x: x + WIDTH / 2, y: placed.y(hold.to_us) });
    }
    svg.close();
}

fn draw_ask(placed: &Placed<'_>, lane: &Lane, bar: &Bar<'_>, ask: &Ask<'_>, svg: &mut Svg) {
    let x = lane.track(bar.track) + WIDTH / 2;
    let told = match ask.told {
        Some((at_us, answer)) => format!("heard {answer} at {}, after {}", seconds(at_us), span(at_us - ask.at_us)),
        None => "never heard".to_owned(),
    };
    let (start, end) = (At { x, y: placed.y(bar.from_us) }, At { x, y: placed.y(bar.to_us) });
    svg.open("ask", &title(&format!("asked {} at {}, {told}; {}", ask.what, seconds(ask.at_us), bar.tx.id)));
    svg.dot("", start);
    svg.line("", start, end);
    match ask.told {
        Some(_) => svg.head(start, end),
        None => svg.cross(end),
    }
    svg.close();
}

fn tone(state: BranchState) -> &'static str {
    match state {
        BranchState::Executing => "executing",
        BranchState::Prepared => "in-doubt",
        BranchState::ReadOnly => "read-only",
        BranchState::Committing => "committing",
        BranchState::Aborting => "aborting",
        BranchState::Resolving => "resolving",
        BranchState::Acting => "executing",
        BranchState::Compensating => "aborting",
        BranchState::Over => "executing",
    }
}
