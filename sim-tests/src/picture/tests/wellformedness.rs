//! Whether a page holds together: tags close in order, ids are unique, links lead somewhere, text is escaped.

use std::collections::BTreeSet;

pub(super) fn check(page: &str) -> Result<(), String> {
    let body = page.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
    let (mut open, mut ids, mut links): (Vec<String>, BTreeSet<String>, Vec<String>) = Default::default();
    let mut rest = body;
    while let Some(at) = rest.find(['<', '>']) {
        let inside = rest[at..].strip_prefix('<').ok_or_else(|| format!("stray > after {:?}", around(rest, at)))?;
        references(&rest[..at])?;
        let end = inside.find('>').ok_or("a tag without end")?;
        let (tag, after) = (&inside[..end], &inside[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last.as_deref() != Some(name) {
                return Err(format!("</{name}> closes {last:?}"));
            }
            continue;
        }
        let attributes = attributes(tag.trim_end_matches('/'))?;
        for (name, value) in attributes {
            references(value)?;
            match name {
                "id" if !ids.insert(value.to_owned()) => return Err(format!("two ids {value}")),
                "href" => links.push(value.trim_start_matches('#').to_owned()),
                _ => {}
            }
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        match name {
            "style" | "script" => {
                let close = format!("</{name}>");
                let end = rest.find(&close).ok_or("an endless script")?;
                rest = &rest[end + close.len()..];
            }
            _ if tag.ends_with('/') => {}
            _ => open.push(name.to_owned()),
        }
    }
    match links.iter().find(|link| !ids.contains(*link)) {
        Some(link) => Err(format!("#{link} leads nowhere")),
        None if open.is_empty() => Ok(()),
        None => Err(format!("never closed: {open:?}")),
    }
}

fn attributes(tag: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut found = Vec::new();
    let mut rest = tag.split_once(' ').map_or("", |(_, rest)| rest).trim();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").ok_or_else(|| format!("an attribute without value: {rest}"))?;
        let (value, after) = value.split_once('"').ok_or_else(|| format!("an open quote: {rest}"))?;
        found.push((name.trim(), value));
        rest = after.trim_start();
    }
    Ok(found)
}

fn references(text: &str) -> Result<(), String> {
    const KNOWN: [&str; 5] = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
    let bad = |(at, _): &(usize, &str)| !KNOWN.iter().any(|known| text[*at..].starts_with(known));
    match text.match_indices('&').find(bad) {
        Some((at, _)) => Err(format!("an unescaped & in {:?}", around(text, at))),
        None => Ok(()),
    }
}

fn around(text: &str, at: usize) -> String {
    text[..at].chars().rev().take(40).collect::<Vec<_>>().into_iter().rev().chain(text[at..].chars().take(40)).collect()
}

#[test]
fn what_does_not_hold_together_is_refused() {
    let page = |body: &str| format!("<!DOCTYPE html><p id=\"a\">{body}</p>");
    assert_eq!(check(&page("x &lt; <b class=\"c\">y</b><br/><a href=\"#a\">z</a>")), Ok(()));
    for bad in [
        "<b>",
        "</b>",
        "<b><i></b></i>",
        "a > b",
        "a & b",
        "<b id=\"a\"></b>",
        "<a href=\"#b\"></a>",
        "<b class=\"c></b>",
        "<b class=c></b>",
        "<script>",
    ] {
        assert!(check(&page(bad)).is_err(), "{bad}");
    }
    assert!(check("<p></p>").is_err());
}
