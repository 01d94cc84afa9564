//! Text that others wrote, as it may be shown to a person.

use std::borrow::Cow;

/// Returns true if text shows as what it is: it is not empty, every character can be seen, and none is white space.
pub fn is_seen(text: &str) -> bool {
    // Most ids are of these only.
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let seen = |text: &str| {
        // The standard library knows which characters can be seen; quotes it escapes for another reason.
        let unquoted = text.replace(['"', '\'', '\\'], "_");
        !text.contains(char::is_whitespace) && unquoted.escape_debug().eq(unquoted.chars())
    };
    !text.is_empty() && (plain(text) || seen(text))
}

/// Returns text with whatever steers a terminal written as an escape, like `\u{1b}`. Lines stay lines.
pub fn clean(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| steers(c) && c != '\n';
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if harmful(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Returns true if a character does something to a terminal instead of being shown: control characters, other ends of
/// lines, and those that turn the direction of writing around.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_every_script_are_seen() {
        for text in ["order-17", "Überweisung-№17", "注文-17", "заказ", "e\u{301}te\u{301}", "🦀", "say\"it\\'s\""]
        {
            assert!(is_seen(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_seen_or_told_apart_is_not() {
        let hidden =
            ["", " ", "a b", "a\u{a0}b", "a\nb", "\u{1b}[2J", "\u{9b}2J", "a\u{200b}b", "a\u{202e}b", "\u{feff}a"];
        for text in hidden {
            assert!(!is_seen(text), "{text:?}");
        }
        assert!(!is_seen("\u{301}a"), "an accent without a letter");
    }

    #[test]
    fn what_steers_a_terminal_is_escaped_and_all_else_stays() {
        assert_eq!(clean("a\u{1b}[2Jb\r\u{9b}"), "a\\u{1b}[2Jb\\r\\u{9b}");
        assert_eq!(clean("a\u{202e}b\u{2028}"), "a\\u{202e}b\\u{2028}");
        assert_eq!(clean("two lines\n\"é\" 注文"), "two lines\n\"é\" 注文");
    }
}
