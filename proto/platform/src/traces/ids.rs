//! The ids of traces and spans, derived from what they stand for.
//!
//! So nothing has to be drawn or remembered, a server that was restarted knows the ids of its former life, and a simulated run
//! has the same ones each time.

use undoubt_vocabulary::{SpanId, TraceId, TxId};

/// Returns the id of a trace that begins with this transaction.
pub fn trace_of(tx: &TxId) -> TraceId {
    let bytes = derived("undoubt trace of a transaction", &[tx.as_bytes()]);
    // A hash of zeros has never been seen.
    TraceId::new(bytes).unwrap_or_else(|| TraceId::new([1; 16]).expect("it is not zero"))
}

/// Returns the id of the span of this name in a trace that all of this tells apart from others of that name.
pub fn span_of(trace: TraceId, name: &str, parts: &[&[u8]]) -> SpanId {
    let trace = trace.bytes();
    let parts: Vec<&[u8]> = [&trace[..], name.as_bytes()].into_iter().chain(parts.iter().copied()).collect();
    let [a, b, c, d, e, f, g, h, ..] = derived("undoubt span of a trace", &parts);
    SpanId::new([a, b, c, d, e, f, g, h]).unwrap_or_else(|| SpanId::new([1; 8]).expect("it is not zero"))
}

/// Each part with its length, so that no two lists of parts are the same bytes.
fn derived(what: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in [what.as_bytes()].iter().chain(parts) {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn whatever_differs_has_another_id_and_what_is_the_same_has_the_same() {
        let (trace, other) = (trace_of(&"t".parse().unwrap()), trace_of(&"u".parse().unwrap()));
        let parts: [&[&[u8]]; 5] = [&[], &[b"a"], &[b"b"], &[b"a", b""], &[b"", b"a"]];
        let ids = || {
            [trace, other].into_iter().flat_map(move |trace| {
                ["prepare", "commit"].into_iter().flat_map(move |name| parts.map(|parts| span_of(trace, name, parts)))
            })
        };
        assert_eq!(ids().collect::<BTreeSet<_>>().len(), 20);
        assert!(ids().eq(ids()));
    }
}
