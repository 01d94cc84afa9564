//! Resources that take part in transactions, one file each.

pub mod kv;
