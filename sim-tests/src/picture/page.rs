//! The page around the pictures.

use super::choice::Choice;
use super::story::Story;
use super::svg::escape;
use super::table::Rows;
use super::view::{self, View};
use super::words::{self, clip, seconds, span};
use super::{MAX_VIOLATIONS, Shown};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const LEGEND: &str = include_str!("page/legend.html");

/// The most characters of what is told at length.
const MAX_CHARS: usize = 1_000;
const MAX_FAULTS: usize = 200;
const MAX_TOLD: usize = 10;
const MAX_LINES: usize = 20;

/// Returns all above the pictures: what failed, and how to see it again.
pub(super) fn head(story: &Story<'_>, violations: &[Shown], command: &str, choice: &Choice) -> String {
    let plan = &story.run.plan;
    let title = match violations.len() {
        0 => format!("Seed {}: nothing violated", plan.seed),
        1 => format!("Seed {}: {} violated", plan.seed, violations[0].rule),
        count => format!("Seed {}: {count} violations", plan.seed),
    };
    let title = text(&title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width\"/><title>{title}</title>\
         <style>\n{STYLE}</style></head>\n<body><div class=\"words\"><h1>{title}</h1>\n"
    );
    page.push_str(&format!("<p>Replay it: <code>{}</code></p>\n", text(command)));
    page.push_str(&list_of_violations(violations));
    page.extend(choice.named.iter().take(MAX_TOLD).map(|tx| told(story, *tx)));
    page.push_str(&faults(story));
    page.push_str("</div>\n");
    page
}

/// The whole page. `undrawn`: of how many transactions there is no picture of their own.
pub(super) fn finish(head: String, views: &[View], undrawn: usize, rows: &Rows) -> String {
    let mut page = head;
    page.push_str("<div class=\"words pick\"><label>Show <select id=\"view\">");
    page.extend(views.iter().map(option));
    page.push_str(
        "</select></label><label><input type=\"checkbox\" id=\"others\" checked=\"checked\"/> \
         others, dimmed</label>",
    );
    if undrawn > 0 {
        page.push_str(&format!("<span class=\"soft\">{undrawn} more transactions have no picture of their own</span>"));
    }
    page.push_str("</div>\n");
    page.push_str(LEGEND);
    page.extend(views.iter().map(|view| view.html.as_str()));
    page.push_str(&format!("\n<details class=\"no-print\"><summary>The trace{}</summary>", rows.left_out()));
    page.push_str(&format!("<table><tbody>{}</tbody></table></details>\n", rows.html));
    page.push_str(&format!("<script>\n{SCRIPT}</script>\n</body></html>\n"));
    page
}

/// Returns the option by which a view is chosen.
pub(super) fn option(view: &View) -> String {
    let txs: Vec<String> = match view.name == view::ALL {
        true => Vec::new(),
        false => view.txs.iter().map(usize::to_string).collect(),
    };
    let title = escape(&clip(&view.title, 80));
    format!("<option value=\"{}\" data-txs=\"{}\">{title}</option>", view.name, txs.join(" "))
}

fn list_of_violations(violations: &[Shown]) -> String {
    if violations.is_empty() {
        return String::new();
    }
    let items: Vec<String> = violations.iter().take(MAX_VIOLATIONS).enumerate().map(violation).collect();
    let more = match violations.len().saturating_sub(MAX_VIOLATIONS) {
        0 => String::new(),
        more => format!("<p>… and {more} more.</p>"),
    };
    format!("<h2>Violated</h2><ol class=\"violations\">{}</ol>{more}\n", items.concat())
}

fn violation((at, shown): (usize, &Shown)) -> String {
    let tx = shown.tx.as_deref().map(|tx| format!(" <code>{}</code>", text(tx))).unwrap_or_default();
    let when = shown.at_us.map(|at_us| format!(" at {}", seconds(at_us))).unwrap_or_default();
    format!("<li><a href=\"#v{at}\"><b>{}</b></a>: {}{tx}{when}</li>\n", text(&shown.rule), text(&shown.what))
}

/// A transaction as it looks from outside.
pub(super) fn told(story: &Story<'_>, tx: usize) -> String {
    let id = story.txs[tx].id;
    let mut lines = words::found(story.run, id);
    if lines.is_empty() {
        return String::new();
    }
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        lines.push("…".to_owned());
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("<li>{}</li>", text(line))).collect();
    format!("<h2>Transaction <code>{}</code></h2><ul class=\"words\">{}</ul>\n", text(id), lines.concat())
}

fn faults(story: &Story<'_>) -> String {
    let (plan, shape) = (&story.run.plan, &story.run.plan.shape);
    let mutant = plan.mutant.map(|mutant| format!(", with the planted bug {mutant:?}")).unwrap_or_default();
    let world = format!(
        "{} participants, {} clients with {} transactions each{mutant}; healed at {}; over after {}.",
        shape.participants,
        shape.clients,
        shape.transactions_per_client,
        span(shape.heal_at_ms.saturating_mul(1_000)),
        span(story.end_us),
    );
    let items = plan.faults.iter().take(MAX_FAULTS).map(|fault| format!("<li>{}</li>", text(&fault.to_string())));
    let items: String = items.collect();
    let more = match plan.faults.len().saturating_sub(MAX_FAULTS) {
        0 => String::new(),
        more => format!("<p>… and {more} more.</p>"),
    };
    let count = plan.faults.len();
    let none = if count == 0 { "<p>None.</p>" } else { "" };
    format!("<p class=\"soft\">{}</p><h2>Faults</h2>{none}<ol start=\"0\">{items}</ol>{more}\n", text(&world))
}

fn text(text: &str) -> String {
    escape(&clip(text, MAX_CHARS))
}
