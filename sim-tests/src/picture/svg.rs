//! Elements of a drawing, as text. Everything that is not ours to choose passes [`escape`].

use super::words::plain;
use std::fmt::Display;

/// Safe in text and in quoted attributes of HTML and XML, whatever it holds.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A place, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub x: i32,
    pub y: i32,
}

/// A drawing in the making.
#[derive(Debug, Default)]
pub(super) struct Svg(String);

impl Svg {
    /// Opens a group, which lasts until [`Svg::close`]; pointing at it shows the title. Classes are ours.
    pub fn open(&mut self, class: &str, title: &str) {
        self.push(format_args!("<g class=\"{class}\"><title>{}</title>", escape(title)));
    }

    /// The same, and links lead here.
    pub fn open_at(&mut self, id: &str, class: &str, title: &str) {
        self.push(format_args!("<g id=\"{id}\" class=\"{class}\"><title>{}</title>", escape(title)));
    }

    pub fn close(&mut self) {
        self.0.push_str("</g>");
    }

    pub fn line(&mut self, class: &str, from: At, to: At) {
        let (At { x: x1, y: y1 }, At { x: x2, y: y2 }) = (from, to);
        self.push(format_args!("<path{} d=\"M{x1} {y1}L{x2} {y2}\"/>", attribute("class", class)));
    }

    pub fn rect(&mut self, class: &str, from: At, width: i32, height: i32) {
        let (x, y, class) = (from.x, from.y, attribute("class", class));
        self.push(format_args!("<rect{class} x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"));
    }

    /// The head of an arrow from there that ends here.
    pub fn head(&mut self, from: At, to: At) {
        const LENGTH: f64 = 8.0;
        const HALF_WIDTH: f64 = 3.2;
        let (dx, dy) = (f64::from(to.x - from.x), f64::from(to.y - from.y));
        let length = dx.hypot(dy).max(1.0);
        let (ux, uy) = (dx / length, dy / length);
        let (bx, by) = (f64::from(to.x) - LENGTH * ux, f64::from(to.y) - LENGTH * uy);
        let (wx, wy) = (-HALF_WIDTH * uy, HALF_WIDTH * ux);
        let (x, y) = (to.x, to.y);
        self.push(format_args!(
            "<path class=\"head\" d=\"M{x} {y}L{:.1} {:.1} {:.1} {:.1}z\"/>",
            bx + wx,
            by + wy,
            bx - wx,
            by - wy
        ));
    }

    pub fn cross(&mut self, at: At) {
        let At { x, y } = at;
        self.push(format_args!("<path class=\"cross\" d=\"M{} {}l10 10m0-10l-10 10\"/>", x - 5, y - 5));
    }

    pub fn diamond(&mut self, class: &str, at: At) {
        let At { x, y } = at;
        self.push(format_args!("<path class=\"{class}\" d=\"M{x} {}l7 7-7 7-7-7z\"/>", y - 7));
    }

    pub fn dot(&mut self, class: &str, at: At) {
        let At { x, y } = at;
        self.push(format_args!("<circle{} cx=\"{x}\" cy=\"{y}\" r=\"3\"/>", attribute("class", class)));
    }

    /// Writes text that ends at the place with `end`, else begins there. Pointing at it shows the title, if there is
    /// one.
    pub fn text(&mut self, class: &str, at: At, end: bool, text: &str, title: &str) {
        let At { x, y } = at;
        let anchor = if end { " text-anchor=\"end\"" } else { "" };
        let class = attribute("class", class);
        let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) };
        self.push(format_args!("<text{class} x=\"{x}\" y=\"{y}\"{anchor}>{title}{}</text>", escape(text)));
    }

    /// Returns the picture of this size, as an element of a page.
    pub fn finish(self, class: &str, width: i32, height: i32) -> String {
        format!(
            "<svg class=\"{class}\" role=\"img\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">{}</svg>",
            self.0
        )
    }

    fn push(&mut self, element: impl Display) {
        self.0.push_str(&element.to_string());
    }
}

fn attribute(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!(" {name}=\"{value}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_kind_stays_text() {
        let escaped = escape("<b title='x'>\"&\u{0}\u{1b}[31m\u{202e}</b>");
        assert_eq!(escaped, "&lt;b title=&#39;x&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}[31m\u{fffd}&lt;/b&gt;");
    }

    #[test]
    fn the_head_of_an_arrow_points_where_the_arrow_leads() {
        let mut svg = Svg::default();
        svg.head(At { x: 0, y: 0 }, At { x: 100, y: 0 });
        assert_eq!(svg.0, "<path class=\"head\" d=\"M100 0L92.0 3.2 92.0 -3.2z\"/>");
    }
}
