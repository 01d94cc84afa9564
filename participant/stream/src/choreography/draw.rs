//! Pictures of a choreography, as text that others draw.

use super::{Choreography, Node};
use crate::declarations::Heard;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The language of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A flow chart of Mermaid.
    Mermaid,
    /// The language of Graphviz.
    Dot,
}

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Plain,
    /// What is refused, expires or undoes.
    Failure,
}

struct Picture {
    /// Participants with the boxes in them: what stands in each, and its name in the picture.
    rooms: BTreeMap<String, Vec<(String, String)>>,
    /// Events: text and name.
    events: Vec<(String, String)>,
    lines: BTreeSet<(String, String, Line)>,
}

/// Draws it: reactions in their participants, events between them; dashed is what goes wrong.
pub fn draw(choreography: &Choreography, language: Language) -> String {
    let picture = picture(choreography);
    match language {
        Language::Mermaid => mermaid(&picture),
        Language::Dot => dot(&picture),
    }
}

fn picture(choreography: &Choreography) -> Picture {
    let mut names: BTreeMap<Node, String> = BTreeMap::new();
    let mut rooms: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (at, step) in choreography.steps().enumerate() {
        let name = format!("r{at}");
        rooms.entry(step.participant.to_string()).or_default().push((step.reaction.name.to_string(), name.clone()));
        names.insert(Node::Act(step.id()), name);
    }
    let heard = choreography.participants().flat_map(|(_, declarations)| declarations.heard().cloned());
    let all: BTreeSet<Heard> = choreography.origins().into_keys().chain(heard).collect();
    let mut events = Vec::new();
    for (at, event) in all.iter().enumerate() {
        events.push((event.kind.to_string(), format!("e{at}")));
        names.insert(Node::Event(event.clone()), format!("e{at}"));
    }
    let mut lines = BTreeSet::new();
    let name_of = |node: Node| names.get(&node).cloned().unwrap_or_default();
    for step in choreography.steps() {
        let own = name_of(Node::Act(step.id()));
        lines.insert((name_of(Node::Event(step.reaction.on.clone())), own.clone(), Line::Plain));
        lines.extend(step.emits().map(|event| (own.clone(), name_of(Node::Event(event)), Line::Plain)));
        let undo_on = step.reaction.undo_on.iter();
        lines.extend(undo_on.map(|event| (name_of(Node::Event(event.clone())), own.clone(), Line::Failure)));
        let wrong = step.refused().into_iter().chain(step.undone());
        lines.extend(wrong.map(|event| (own.clone(), name_of(Node::Event(event)), Line::Failure)));
    }
    for (expired, begun, _) in choreography.expiries() {
        lines.insert((name_of(Node::Event(begun)), name_of(Node::Event(expired)), Line::Failure));
    }
    Picture { rooms, events, lines }
}

fn mermaid(picture: &Picture) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (at, (room, boxes)) in picture.rooms.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  subgraph p{at}[\"{room}\"]");
        boxes.iter().for_each(|(label, name)| text.push_str(&format!("    {name}[\"{label}\"]\n")));
        text.push_str("  end\n");
    }
    picture.events.iter().for_each(|(label, name)| text.push_str(&format!("  {name}([\"{label}\"])\n")));
    for (from, to, line) in &picture.lines {
        let arrow = match line {
            Line::Plain => "-->",
            Line::Failure => "-.->",
        };
        let _ = writeln!(text, "  {from} {arrow} {to}");
    }
    text
}

fn dot(picture: &Picture) -> String {
    let mut text = "digraph choreography {\n  rankdir=LR;\n".to_owned();
    for (at, (room, boxes)) in picture.rooms.iter().enumerate() {
        let _ = writeln!(text, "  subgraph cluster_{at} {{\n    label=\"{room}\";");
        boxes.iter().for_each(|(label, name)| text.push_str(&format!("    {name} [shape=box, label=\"{label}\"];\n")));
        text.push_str("  }\n");
    }
    let events = picture.events.iter();
    events.for_each(|(label, name)| text.push_str(&format!("  {name} [shape=ellipse, label=\"{label}\"];\n")));
    for (from, to, line) in &picture.lines {
        let style = match line {
            Line::Plain => "",
            Line::Failure => " [style=dashed]",
        };
        let _ = writeln!(text, "  {from} -> {to}{style};");
    }
    text.push_str("}\n");
    text
}
