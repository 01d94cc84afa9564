//! A number that may be absent, written as `"none"` then: so the setting has a value like every other, and can be seen and
//! set wherever they can. For `#[serde(with = …)]`.

use serde::de::{self, Visitor};
use serde::{Deserializer, Serializer};
use std::fmt;

const NONE: &str = "none";

pub fn serialize<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => serializer.serialize_u64(*number),
        None => serializer.serialize_str(NONE),
    }
}

pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(NoneOrNumber)
}

struct NoneOrNumber;

impl Visitor<'_> for NoneOrNumber {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number from 0, or \"{NONE}\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<u64>, E> {
        Ok(Some(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Option<u64>, E> {
        let positive = u64::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))?;
        Ok(Some(positive))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u64>, E> {
        if text == NONE { Ok(None) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
    }
}
