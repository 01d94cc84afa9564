//! The decoders of what comes from outside and is read in private modules: for the fuzzers (`sim-tests/fuzz`), which stand outside.

use crate::{admin, session};
use tonic::Status;
use undoubt_proto::v1::{Hello, ListBranchesRequest};

/// Reads what a coordinator says of itself in its hello, and what it claims.
pub fn hello(hello: &Hello) -> Result<(), Status> {
    session::read_hello(hello)
}

/// Reads a question for a list of branches.
pub fn list(request: ListBranchesRequest) -> Result<(), Status> {
    admin::parse_list(request)
}
