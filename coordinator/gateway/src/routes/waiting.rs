//! The time for which a caller waits for an outcome: `?wait=5s`, or the header `Prefer` (RFC 7240).

use super::asked::invalid;
use crate::document::duration;
use crate::problem::Problem;
use http::HeaderMap;
use std::time::Duration;

/// The longest time for which an outcome is waited for.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(60);

/// The time for which it is waited for where the request does not say.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// Returns for how long to wait. `asked`: what the query says, which overrules the header.
pub(super) fn wait(asked: Option<&str>, headers: &HeaderMap, otherwise: Duration) -> Result<Duration, Problem> {
    let wait = match asked {
        Some(text) => duration(text).map_err(|why| invalid(format!("wait: {why}")))?,
        None => return Ok(preferred(headers).unwrap_or(otherwise)),
    };
    if wait > MAX_WAIT {
        let most = MAX_WAIT.as_secs();
        return Err(invalid(format!("wait: {wait:?} is more than the {most} s that are waited; wait again instead")));
    }
    Ok(wait)
}

/// Returns for how long to wait until it is applied, once it is decided; `None`: not at all. `wait`: the time to wait for the decision.
pub(super) fn applied_within(asked: Option<&str>, wait: Duration) -> Result<Option<Duration>, Problem> {
    let Some(text) = asked else { return Ok(None) };
    let within = duration(text).map_err(|why| invalid(format!("applied: {why}")))?;
    if within.is_zero() || within > MAX_WAIT {
        let most = MAX_WAIT.as_secs();
        return Err(invalid(format!("applied: it is more than nothing and up to {most} s; ask again to wait on")));
    }
    if wait.is_zero() {
        return Err(invalid("applied: whoever does not wait is not told what was applied; leave it out, or wait"));
    }
    Ok(Some(within))
}

/// Returns the time that the header wishes for. `respond-async` is none; a wish for more than is waited is one for that.
fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let wishes: Vec<String> = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|wish| wish.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .collect();
    let seconds = wishes.iter().find_map(|wish| wish.strip_prefix("wait=")?.trim_matches('"').parse().ok());
    match seconds {
        Some(seconds) => Some(Duration::from_secs(seconds).min(MAX_WAIT)),
        None => wishes.iter().any(|wish| wish == "respond-async").then_some(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_overrules_what_is_preferred() {
        let prefers = |wish: &'static str| HeaderMap::from_iter([("prefer".parse().unwrap(), wish.parse().unwrap())]);
        let waits = |asked, wish| wait(asked, &prefers(wish), DEFAULT_WAIT).map(|wait| wait.as_secs());
        assert_eq!(waits(None, "return=minimal"), Ok(30));
        assert_eq!(waits(None, "Respond-Async"), Ok(0));
        assert_eq!(waits(None, "respond-async, wait=10"), Ok(10));
        assert_eq!(waits(None, "wait=100000"), Ok(60));
        assert_eq!(waits(Some("5s"), "respond-async"), Ok(5));
        assert!(waits(Some("61s"), "").is_err() && waits(Some("soon"), "").is_err());
    }
}
