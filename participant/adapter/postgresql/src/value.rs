//! Values on their way to PostgreSQL and back.

use bytes::BytesMut;
use postgres_protocol::escape::escape_literal;
use std::borrow::Cow;
use std::error::Error;
use tokio_postgres::Row;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use undoubt_work::Datum;

type Failure = Box<dyn Error + Sync + Send>;

/// An argument, which goes over as text: the server reads it as the type that was declared.
#[derive(Debug)]
pub(crate) struct Argument<'a>(pub(crate) &'a Datum);

impl Argument<'_> {
    /// Returns the text that the server reads; `None`: there is no value.
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self.0 {
            Datum::Null => return None,
            Datum::Text(text) | Datum::Decimal(text) | Datum::Json(text) => Cow::Borrowed(text),
            Datum::Bytes(bytes) => Cow::Owned(hex(bytes)),
            Datum::Bool(value) => Cow::Owned(value.to_string()),
            Datum::Integer(value) => Cow::Owned(value.to_string()),
            Datum::Double(value) => Cow::Owned(value.to_string()),
            Datum::TimestampUs(_) | Datum::Uuid(_) => Cow::Owned(undoubt_sql::text_of(self.0).unwrap_or_default()),
        })
    }

    /// Returns it as a literal; `None`: it has a NUL character, which no literal has.
    pub(crate) fn literal(&self) -> Option<String> {
        match self.text() {
            None => Some("NULL".to_owned()),
            Some(text) => (!text.contains('\0')).then(|| escape_literal(&text)),
        }
    }
}

/// Returns bytes as the server reads them.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    text
}

/// Literals of the participant's own values.
pub(crate) mod literal {
    use super::{escape_literal, hex};

    pub(crate) fn bytes(bytes: &[u8]) -> String {
        escape_literal(&hex(bytes))
    }

    pub(crate) fn number(number: impl Into<i64>) -> String {
        format!("'{}'", number.into())
    }

    /// A word of the participant's own.
    pub(crate) fn word(word: &'static str) -> String {
        escape_literal(word)
    }

    /// A text of the participant's own, which has no NUL character.
    pub(crate) fn text(text: &str) -> String {
        escape_literal(text)
    }

    /// An array of `bytea`.
    pub(crate) fn keys<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> String {
        let keys: Vec<String> = keys.into_iter().map(|key| format!("\"\\{}\"", hex(key))).collect();
        escape_literal(&format!("{{{}}}", keys.join(",")))
    }
}

impl ToSql for Argument<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let Some(text) = self.text() else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// Returns true if results can carry values of this type.
pub(crate) fn is_carried(kind: &Type) -> bool {
    is_text(kind)
        || [
            Type::BOOL,
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::OID,
            Type::FLOAT4,
            Type::FLOAT8,
            Type::NUMERIC,
            Type::BYTEA,
            Type::TIMESTAMP,
            Type::TIMESTAMPTZ,
            Type::JSON,
            Type::JSONB,
            Type::UUID,
            Type::VOID,
        ]
        .contains(kind)
}

fn is_text(kind: &Type) -> bool {
    if let Kind::Domain(inner) = kind.kind() {
        return is_text(inner);
    }
    matches!(kind.kind(), Kind::Enum(_))
        || [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME, Type::UNKNOWN, Type::CHAR].contains(kind)
}

/// A value that the server returned.
struct Cell(Datum);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        let kind = if let Kind::Domain(inner) = kind.kind() { inner } else { kind };
        Ok(Cell(match *kind {
            _ if is_text(kind) => Datum::Text(std::str::from_utf8(raw)?.to_owned()),
            Type::BOOL => Datum::Bool(bool::from_sql(kind, raw)?),
            Type::INT2 => Datum::Integer(i16::from_sql(kind, raw)?.into()),
            Type::INT4 => Datum::Integer(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Datum::Integer(i64::from_sql(kind, raw)?),
            Type::OID => Datum::Integer(u32::from_sql(kind, raw)?.into()),
            Type::FLOAT4 => Datum::Double(f32::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Datum::Double(f64::from_sql(kind, raw)?),
            Type::NUMERIC => Datum::Decimal(numeric(raw)?),
            Type::BYTEA => Datum::Bytes(raw.to_vec().into()),
            Type::TIMESTAMP | Type::TIMESTAMPTZ => Datum::TimestampUs(timestamp(raw)?),
            Type::JSON => Datum::Json(std::str::from_utf8(raw)?.to_owned()),
            Type::JSONB => {
                let text = raw.strip_prefix(&[1]).ok_or("a jsonb of another version than 1")?;
                Datum::Json(std::str::from_utf8(text)?.to_owned())
            }
            Type::UUID => Datum::Uuid(raw.try_into()?),
            Type::VOID => Datum::Null,
            _ => return Err(format!("a value of type {kind}, which results do not carry").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Cell(Datum::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Returns the values of a row.
pub(crate) fn cells(row: &Row) -> Result<Vec<Datum>, tokio_postgres::Error> {
    (0..row.len()).map(|place| row.try_get::<_, Cell>(place).map(|Cell(datum)| datum)).collect()
}

/// PostgreSQL counts from 2000-01-01, in microseconds.
const EPOCH_US: i64 = 946_684_800_000_000;

fn timestamp(raw: &[u8]) -> Result<i64, Failure> {
    let since = i64::from_be_bytes(raw.try_into()?);
    since.checked_add(EPOCH_US).ok_or_else(|| "a time beyond what microseconds can count".into())
}

/// Reads a number: groups of four decimal digits, the weight of the first, the sign, and the digits after the point.
fn numeric(raw: &[u8]) -> Result<String, Failure> {
    let mut words = raw.chunks(2).map(|word| word.try_into().map(u16::from_be_bytes));
    let mut next = || words.next().ok_or("a number that ends too early")?.map_err(|_| "a number that ends too early");
    let (groups, weight, sign, scale) = (next()?, next()?.cast_signed(), next()?, next()?);
    match sign {
        0x0000 | 0x4000 => {}
        0xC000 => return Ok("NaN".to_owned()),
        0xD000 => return Ok("Infinity".to_owned()),
        0xF000 => return Ok("-Infinity".to_owned()),
        _ => return Err("a number with a sign that is not known".into()),
    }
    let groups: Vec<u16> = (0..groups).map(|_| next()).collect::<Result<_, _>>()?;
    // A group that is not there is zero.
    let group = |place: i32| usize::try_from(place).ok().and_then(|place| groups.get(place)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    let mut whole: String = (0..=weight).map(|place| format!("{:04}", group(place))).collect();
    whole = whole.trim_start_matches('0').to_owned();
    if whole.is_empty() {
        whole.push('0');
    }
    let scale = usize::from(scale);
    let fraction_groups = i32::try_from(scale.div_ceil(4))?;
    let mut fraction: String = (1..=fraction_groups).map(|place| format!("{:04}", group(weight + place))).collect();
    fraction.truncate(scale);
    let sign = if sign == 0x4000 { "-" } else { "" };
    Ok(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn what_a_literal_holds_cannot_end_it() {
        let literal = |text: &str| Argument(&Datum::Text(text.to_owned())).literal();
        assert_eq!(literal("it's").unwrap(), "'it''s'");
        assert_eq!(literal("a\\'; DROP TABLE t; --").unwrap(), " E'a\\\\''; DROP TABLE t; --'");
        assert_eq!(literal("\0"), None);
        assert_eq!(Argument(&Datum::Null).literal().unwrap(), "NULL");
        assert_eq!(Argument(&Datum::Bytes(vec![0, 0x27, 0xff].into())).literal().unwrap(), " E'\\\\x0027ff'");
        assert_eq!(literal::number(-5), "'-5'");
        assert_eq!(literal::keys([&b"\x01"[..], b""]), " E'{\"\\\\\\\\x01\",\"\\\\\\\\x\"}'");
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        for (raw, text) in [
            (&[1, 0, 0, 0, 30][..], "30"),
            (&[0, 0, 0, 2], "0.00"),
            (&[2, 0, 0x4000, 2, 1, 5000], "-1.50"),
            (&[2, 1, 0, 0, 12, 3], "120003"),
            (&[1, 1, 0, 0, 12], "120000"),
            (&[1, 0xFFFF, 0, 4, 12], "0.0012"),
            (&[1, 0xFFFE, 0, 8, 12], "0.00000012"),
            (&[0, 0, 0xC000, 0], "NaN"),
        ] {
            assert_eq!(numeric(&words(raw)).unwrap(), text);
        }
        assert!(numeric(&words(&[3, 0, 0, 0, 1])).is_err());
        assert!(numeric(b"\x00").is_err());
    }

    #[test]
    fn the_weight_of_a_fraction_below_its_first_group_counts_from_the_point() {
        // 0.5 with two groups' room before it.
        assert_eq!(numeric(&words(&[1, 0xFFFF, 0, 1, 5000])).unwrap(), "0.5");
    }
}
