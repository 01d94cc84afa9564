//! The servers as processes run them, alone or several in one: [`coordinator`], [`participant`] over any resource, [`key_value`] over a
//! store in its folder, [`gateway`].

pub mod coordinator;
pub mod gateway;
pub mod key_value;
pub mod participant;
