//! The W3C trace context: which trace a piece of work belongs to, and which span it is done for.
//!
//! It comes from a caller as text (`traceparent`, `tracestate`) and goes on as text. What cannot be read is never a reason to
//! refuse the work: it is done without a trace.

use smol_str::SmolStr;
use std::fmt;

/// The longest `tracestate` that is carried, in bytes. The recommendation asks for this much at least.
pub const MAX_TRACE_STATE_BYTES: usize = 512;

/// The most members that a `tracestate` may have.
const MAX_TRACE_STATE_MEMBERS: usize = 32;

/// The length of a `traceparent` of version 00, in bytes.
pub const TRACEPARENT_BYTES: usize = 55;

/// The bit of a `traceparent`'s flags that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// The id of a trace, which is never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// The id of a span within a trace, which is never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

/// The place of a piece of work in a trace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    pub trace: TraceId,
    /// The span for which the work is done.
    pub span: SpanId,
    /// True if the trace is recorded.
    pub sampled: bool,
    pub state: TraceState,
}

/// The `tracestate`, which belongs to others and is handed on as it came: printable ASCII of a bounded length, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceState(SmolStr);

/// The error of a text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no traceparent of the form 00-(32 digits of 0-9a-f)-(16 of them)-(2 of them), where neither id is all zeros"
)]
pub struct BadTraceparent;

impl TraceId {
    /// Returns the id; `None`: it is all zeros.
    pub fn new(bytes: [u8; 16]) -> Option<TraceId> {
        (bytes != [0; 16]).then_some(TraceId(bytes))
    }

    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// Returns the id; `None`: it is all zeros.
    pub fn new(bytes: [u8; 8]) -> Option<SpanId> {
        (bytes != [0; 8]).then_some(SpanId(bytes))
    }

    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl TraceState {
    /// Returns the text as it may be carried on. What is too long, or no list of `key=value`, is left out as a whole.
    pub fn read(text: &str) -> TraceState {
        let is_member = |member: &str| {
            let (key, value) = member.trim().split_once('=').unwrap_or_default();
            !key.is_empty() && !value.is_empty()
        };
        let usable = text.len() <= MAX_TRACE_STATE_BYTES
            && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && text.split(',').count() <= MAX_TRACE_STATE_MEMBERS
            && text.split(',').all(is_member);
        TraceState(if usable { SmolStr::new(text) } else { SmolStr::default() })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TraceContext {
    /// Reads both texts. Of a version that is not known yet, what version 00 has is read.
    pub fn read(traceparent: &str, tracestate: &str) -> Result<TraceContext, BadTraceparent> {
        let bytes = traceparent.as_bytes();
        let (Some(version), Some(trace), Some(span), Some(flags)) =
            (hex::<1>(bytes, 0), hex::<16>(bytes, 3), hex::<8>(bytes, 36), hex::<1>(bytes, 53))
        else {
            return Err(BadTraceparent);
        };
        let has_dashes = [2, 35, 52].into_iter().all(|at| bytes[at] == b'-');
        let is_whole = match version {
            [0] => bytes.len() == TRACEPARENT_BYTES,
            [0xff] => false,
            [_] => bytes.len() == TRACEPARENT_BYTES || bytes[TRACEPARENT_BYTES] == b'-',
        };
        if !has_dashes || !is_whole {
            return Err(BadTraceparent);
        }
        Ok(TraceContext {
            trace: TraceId::new(trace).ok_or(BadTraceparent)?,
            span: SpanId::new(span).ok_or(BadTraceparent)?,
            sampled: flags[0] & SAMPLED != 0,
            state: TraceState::read(tracestate),
        })
    }

    /// Returns the text that says it, without the state.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }

    /// Returns the same trace with another span.
    pub fn at(&self, span: SpanId) -> TraceContext {
        TraceContext { span, ..self.clone() }
    }
}

/// Returns so many bytes, written in lower-case digits from there on.
fn hex<const N: usize>(text: &[u8], from: usize) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits = text.get(from..from + 2 * N)?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_the_recommendation_has_it() {
        let read = TraceContext::read(PARENT, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE").unwrap();
        assert_eq!((read.trace.to_string().as_str(), read.sampled), ("4bf92f3577b34da6a3ce929d0e0e4736", true));
        assert_eq!(read.state.as_str(), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
        assert_eq!(read.traceparent(), PARENT);
        let later = PARENT.replacen("00", "cc", 1);
        assert_eq!(TraceContext::read(&format!("{later}-what-comes"), "").unwrap().span, read.span);
        assert!(!TraceContext::read(&PARENT.replace("-01", "-02"), "").unwrap().sampled);
    }

    #[test]
    fn what_is_no_traceparent_is_told_apart() {
        let zeros = |from: &str| PARENT.replace(from, &"0".repeat(from.len()));
        for bad in [
            String::new(),
            "00-4bf9".to_owned(),
            PARENT.to_uppercase(),
            PARENT.replacen("00", "ff", 1),
            PARENT.replacen('-', "_", 1),
            format!("{PARENT}-01"),
            PARENT.replacen("00", "cc", 1) + "x",
            zeros("4bf92f3577b34da6a3ce929d0e0e4736"),
            zeros("00f067aa0ba902b7"),
            PARENT.replace("01", "é"),
        ] {
            assert_eq!(TraceContext::read(&bad, ""), Err(BadTraceparent), "{bad}");
        }
    }

    #[test]
    fn a_state_that_is_too_long_or_no_list_is_left_out() {
        let many = vec!["a=b"; MAX_TRACE_STATE_MEMBERS + 1].join(",");
        for bad in ["a", "=b", "a=", "a=b,", "a=\u{1b}", "ä=b", &"a=".repeat(300), &many] {
            assert_eq!(TraceState::read(bad), TraceState::default(), "{bad}");
        }
        assert_eq!(TraceState::read("a=b, c=d=").as_str(), "a=b, c=d=");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            trace in prop::array::uniform16(0_u8..),
            span in prop::array::uniform8(0_u8..),
            sampled: bool,
            state in "([a-z]{1,9}=[!-+--<>-~]{1,9}){0,1}",
        ) {
            let ids = TraceId::new(trace).zip(SpanId::new(span));
            prop_assume!(ids.is_some());
            let Some((trace, span)) = ids else { return Ok(()) };
            let context = TraceContext { trace, span, sampled, state: TraceState::read(&state) };
            prop_assert_eq!(context.state.as_str(), state.as_str());
            let read = TraceContext::read(&context.traceparent(), context.state.as_str());
            prop_assert_eq!(read, Ok(context));
        }

        #[test]
        fn any_text_is_read_or_refused(parent in ".{0,80}", state in ".{0,600}") {
            if let Ok(read) = TraceContext::read(&parent, &state) {
                prop_assert_eq!(TraceContext::read(&read.traceparent(), read.state.as_str()), Ok(read));
            }
        }
    }
}
