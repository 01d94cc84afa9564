//! One picture of those that can be chosen.

use super::Shown;
use super::figure;
use super::page;
use super::scene::Scene;
use super::story::Story;
use super::svg::escape;

/// The names of views that are not about one transaction; those are `t` and a number.
pub(super) const NAMED: &str = "named";
pub(super) const FAULTS: &str = "faults";
pub(super) const ALL: &str = "all";

/// A picture that somebody may want to see.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Ours; safe anywhere.
    pub name: String,
    pub title: String,
    /// The transactions, those that matter most first.
    pub txs: Vec<usize>,
    /// Others that went on at the same time are drawn dimmed.
    pub with_others: bool,
}

/// A picture that is drawn.
#[derive(Debug)]
pub(super) struct View {
    pub name: String,
    pub title: String,
    pub txs: Vec<usize>,
    pub html: String,
}

/// Draws with fewer and fewer items until it fits into so many bytes; gives up below `least` items.
pub(super) fn fitting(
    story: &Story<'_>,
    violations: &[Shown],
    wanted: &Wanted,
    first: bool,
    items: (usize, usize),
    bytes: usize,
) -> Option<View> {
    let (mut most, least) = items;
    while most >= least {
        let scene = Scene::new(story, wanted, most);
        let html = section(&scene, violations, wanted, first);
        if html.len() <= bytes {
            let txs = scene.txs.iter().filter_map(|tx| story.find(tx.id)).collect();
            return Some(View { name: wanted.name.clone(), title: wanted.title.clone(), txs, html });
        }
        most = if most == 0 { return None } else { most / 2 };
    }
    None
}

fn section(scene: &Scene<'_>, violations: &[Shown], wanted: &Wanted, first: bool) -> String {
    let left_out = match scene.left_out.as_slice() {
        [] => String::new(),
        left_out => format!("<p class=\"left-out\">Left out here: {}.</p>", escape(&left_out.join("; "))),
    };
    // The first picture's transactions are told of above it.
    let told = match wanted.txs.as_slice() {
        [tx] if !first => page::told(scene.story, *tx),
        _ => String::new(),
    };
    let name = &wanted.name;
    let (hidden, anchors) = if first { ("", true) } else { (" hidden=\"hidden\"", false) };
    let drawn = figure::draw(scene, violations, anchors);
    format!("<section class=\"view\" id=\"view-{name}\"{hidden}>{told}{left_out}{drawn}</section>")
}
