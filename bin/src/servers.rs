//! The servers as processes run them, alone or several in one: [`coordinator`], [`participant`] over any resource, [`stored`] where that has a
//! store in the data folder, as [`key_value`] and [`http`] have; [`gateway`]; [`observer`].

pub mod coordinator;
pub mod gateway;
pub mod http;
pub mod key_value;
pub mod observer;
pub mod participant;
pub mod stored;
