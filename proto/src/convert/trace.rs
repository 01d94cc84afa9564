//! Trace contexts, which are read where they are used: a bad one is no reason to refuse what it came with.

use crate::v1;
use undoubt_vocabulary::TraceContext;

impl From<&TraceContext> for v1::TraceContext {
    fn from(context: &TraceContext) -> Self {
        v1::TraceContext { traceparent: context.traceparent(), tracestate: context.state.as_str().to_owned() }
    }
}
