//! The errors of a resource.

/// The error of a call that did not succeed. The [contract](super) has a table of what follows from each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// The call did nothing now: nothing happened, and nothing of it will.
    #[error("the resource cannot do this now: {cause}. Nothing happened; try again later")]
    Unavailable { cause: String },
    /// The call did nothing: there is no room for the result. Only of a prepare and of a step's action.
    #[error("there is no room for the result now. Nothing happened; try again once there is")]
    NoRoom,
    /// The call may have taken effect, or may yet: the connection broke before the answer came.
    #[error("it is unclear what became of this in the resource: {cause}. It is asked again, or looked for")]
    Unclear { cause: String },
    /// The resource is not the one that this participant has served: another's, a swapped or a restored one.
    #[error(
        "this is not the resource that this participant has served: {cause}. Nothing was changed; point the participant to its own resource"
    )]
    Foreign { cause: String },
    /// Storage failed, or cannot be read.
    #[error("the resource failed: {cause}. It is unknown what is stored: this process must stop and recover (R8)")]
    Stopped { cause: String },
    /// Another process has taken over the resource's store, and works with it.
    #[error("the resource belongs to another process now: {cause}")]
    Fenced { cause: String },
}
