//! What every run has to keep.
