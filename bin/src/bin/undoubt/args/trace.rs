//! The trace in which a transaction is carried out.

use clap::Args;

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The W3C trace context in which it is recorded, like 00-(32 digits)-(16 digits)-01. What cannot be read is ignored.
    #[arg(long, value_name = "TEXT")]
    pub traceparent: Option<String>,
    /// With --traceparent: what others add to it, like key=value,key=value.
    #[arg(long, value_name = "TEXT", requires = "traceparent", default_value = "", hide_default_value = true)]
    pub tracestate: String,
}
