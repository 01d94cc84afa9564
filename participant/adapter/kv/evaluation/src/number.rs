//! Numbers: signed 64-bit integers, stored as decimal text.

use super::shown_value;
use bytes::Bytes;
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::kv::Add;
use undoubt_work::text::shown;

pub(super) fn add(key: &Bytes, present: Option<&Bytes>, add: Add) -> Result<i64, Refusal> {
    let Add { delta, floor, ceiling } = add;
    let number = parse(key, present)?;
    let Some(sum) = number.checked_add(delta) else {
        let detail = format!("key {}: {number} + {delta} is beyond 64 bits; add less", shown(key));
        return Err(Refusal::new(RefusalCode::InvalidWork, detail));
    };
    let crossed = |side: &str, bound: i64| {
        let detail =
            format!("key {}: {number} + {delta} = {sum} is {side} {bound}; add less or change it first", shown(key));
        Err(Refusal::new(RefusalCode::Condition, detail))
    };
    match (floor, ceiling) {
        (Some(floor), _) if sum < floor => crossed("below the floor", floor),
        (_, Some(ceiling)) if sum > ceiling => crossed("above the ceiling", ceiling),
        (Some(_) | None, Some(_) | None) => Ok(sum),
    }
}

fn parse(key: &Bytes, present: Option<&Bytes>) -> Result<i64, Refusal> {
    let Some(bytes) = present else { return Ok(0) };
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        let (key, value) = (shown(key), shown_value(present));
        let detail = format!("key {key} holds {value}, which is no 64-bit decimal number; put one first");
        Refusal::new(RefusalCode::InvalidWork, detail)
    })
}
