//! The findings as a page that needs nothing else: a table, and a chart for whatever was measured at several sizes.

use super::Found;
use super::finding::{Finding, Goal};
use anyhow::anyhow;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;

const CHART_SIZE: (u32, u32) = (560, 300);

/// Figures of one kind that differ in one number: `2pc/participants=` … `/rate`. All are finite, as a chart needs them: where
/// nothing committed, its cost is not.
type Series<'a> = Vec<(f64, &'a Finding)>;

pub fn html(Found { findings, skipped }: &Found) -> anyhow::Result<String> {
    let mut page = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>What transactions cost</title><style>\
         body{font:14px system-ui,sans-serif;margin:2em;max-width:1200px}td,th{padding:2px 12px 2px 0;text-align:left;vertical-align:top}\
         td.n{text-align:right;font-variant-numeric:tabular-nums}.met{color:#070}.missed{color:#b00;font-weight:bold}\
         figure{display:inline-block;margin:0 1em 1em 0}</style><h1>What transactions cost</h1>",
    );
    for ((before, after), series) in series_of(findings) {
        let title = format!("{before}…{after}");
        write!(page, "<figure>{}</figure>", chart(&title, &series)?)?;
    }
    for (what, why) in skipped {
        write!(page, "<p class=missed>Skipped: {}, because {}</p>", escaped(what), escaped(why))?;
    }
    page.push_str("<table><tr><th>what<th>value<th>unit<th>lowest to highest<th>goal<th>note</tr>");
    for finding in findings {
        let spread = finding.spread.map(|(low, high)| format!("{} to {}", number(low), number(high)));
        let goal = finding.goal.map(|goal| goal_cell(goal, finding.met == Some(true))).unwrap_or_default();
        write!(
            page,
            "<tr><td>{}<td class=n>{}<td>{}<td>{}{goal}<td>{}</tr>",
            escaped(&finding.name),
            number(finding.value),
            escaped(finding.unit),
            spread.unwrap_or_default(),
            escaped(&finding.note),
        )?;
    }
    page.push_str("</table>\n");
    Ok(page)
}

/// Returns a number in a few digits.
pub fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

pub fn goal_text(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(least) => format!("at least {}", number(least)),
        Goal::AtMost(most) => format!("at most {}", number(most)),
    }
}

fn goal_cell(goal: Goal, met: bool) -> String {
    let class = if met { "met" } else { "missed" };
    format!("<td class={class}>{}, {class}", goal_text(goal))
}

fn series_of(findings: &[Finding]) -> BTreeMap<(&str, &str), Series<'_>> {
    let mut all: BTreeMap<(&str, &str), Series<'_>> = BTreeMap::new();
    for finding in findings {
        let Some((before, rest)) = finding.name.split_once('=') else { continue };
        let (size, after) = rest.split_once('/').unwrap_or((rest, ""));
        let (low, high) = finding.spread.unwrap_or_default();
        let finite = [finding.value, low, high].iter().all(|value| value.is_finite());
        if let (true, Ok(size)) = (finite, size.trim_end_matches(['%', 'x']).parse()) {
            all.entry((before, after)).or_default().push((size, finding));
        }
    }
    all.retain(|_, series| series.len() > 2);
    all
}

/// Sizes are evenly spaced, whatever they are: most grow by factors.
fn chart(title: &str, series: &Series<'_>) -> anyhow::Result<String> {
    let mut svg = String::new();
    let top = series.iter().map(|(_, finding)| finding.spread.map_or(finding.value, |(_, high)| high));
    let top = 1.1 * top.fold(f64::MIN_POSITIVE, f64::max);
    let unit = series.first().map_or("", |(_, finding)| finding.unit);
    {
        let failed = |error: DrawingAreaErrorKind<_>| anyhow!("drawing {title}: {error}");
        let root = SVGBackend::with_string(&mut svg, CHART_SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.5..series.len() as f64 - 0.5, 0.0..top)
            .map_err(failed)?;
        let label = |at: &f64| {
            let index = at.round();
            let near = (at - index).abs() < 0.01 && index >= 0.0;
            series.get(index as usize).filter(|_| near).map_or_else(String::new, |(size, _)| size.to_string())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(2 * series.len() + 1)
            .x_label_formatter(&label)
            .y_desc(unit)
            .y_label_formatter(&|value| number(*value))
            .draw()
            .map_err(failed)?;
        let points = || series.iter().enumerate().map(|(index, (_, finding))| (index as f64, finding));
        chart.draw_series(LineSeries::new(points().map(|(x, finding)| (x, finding.value)), &BLUE)).map_err(failed)?;
        let spreads = points().filter_map(|(x, finding)| finding.spread.map(|(low, high)| (x, low, high)));
        chart
            .draw_series(spreads.map(|(x, low, high)| PathElement::new(vec![(x, low), (x, high)], BLACK)))
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_at_several_sizes_is_drawn_and_all_is_in_the_table() {
        let sized = |size: u32| Finding::of_rounds(format!("a/n={size}/rate"), vec![1.0, f64::from(size)], "tx/s");
        let idle = Finding::of_rounds("a/n=512/rate".to_owned(), vec![1.0, f64::INFINITY], "tx/s");
        let findings =
            vec![sized(1), sized(8), sized(64), idle, Finding::new("b<c", 3.0, "x").goal(Goal::AtLeast(4.0))];
        let skipped = vec![("peer".to_owned(), "absent".to_owned())];
        let page = html(&Found { findings, skipped }).unwrap();
        assert_eq!(page.matches("<svg").count(), 1);
        assert!(page.contains("Skipped: peer, because absent"), "{page}");
        assert!(page.contains("b&lt;c") && page.contains("at least 4.00, missed"), "{page}");
    }
}
