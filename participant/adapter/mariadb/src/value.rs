//! Values on their way to the server, as literals, and back.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use mysql_async::consts::ColumnType;
use mysql_async::{Column, Value};
use undoubt_work::Datum;

/// The number of the character set that says that a text is none.
const BINARY: u16 = 63;

/// Returns bytes as a literal, in which nothing needs to be escaped.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    format!("x'{}'", digits(bytes))
}

/// Returns bytes as hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        digits.push(char::from(DIGITS[usize::from(byte >> 4)]));
        digits.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    digits
}

/// Returns text as a literal.
pub(crate) fn text(text: &str) -> String {
    match text {
        "" => "_utf8mb4''".to_owned(),
        _ => format!("_utf8mb4 {}", bytes(text.as_bytes())),
    }
}

/// Returns a value as a literal.
///
/// # Errors
/// The reason why the server has no such value.
pub(crate) fn literal(datum: &Datum) -> Result<String, String> {
    Ok(match datum {
        Datum::Null => "NULL".to_owned(),
        Datum::Bool(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        Datum::Integer(value) => value.to_string(),
        Datum::Double(value) if value.is_finite() => format!("{value:e}"),
        Datum::Double(value) => return Err(format!("{value} is a number that MariaDB does not have")),
        // With an exponent it would be read as a number with a rounded value.
        Datum::Decimal(value) if value.contains(['e', 'E']) => format!("CAST({} AS DECIMAL(65,30))", text(value)),
        Datum::Decimal(value) => value.clone(),
        Datum::Text(value) | Datum::Json(value) => text(value),
        Datum::Bytes(value) => bytes(value),
        Datum::TimestampUs(value) => {
            let time = jiff::Timestamp::from_microsecond(*value).map_err(|error| error.to_string())?;
            format!("TIMESTAMP'{}'", TimeZone::UTC.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S.%6f"))
        }
        Datum::Uuid(_) => text(&undoubt_sql::text_of(datum).unwrap_or_default()),
    })
}

/// Reads a value that the server returned as text.
///
/// # Errors
/// The reason why results cannot carry it.
pub(crate) fn cell(column: &Column, value: Value) -> Result<Datum, String> {
    let raw = match value {
        Value::NULL => return Ok(Datum::Null),
        Value::Bytes(raw) => raw,
        // Only the protocol of prepared statements returns these, which is used for none.
        Value::Int(value) => return Ok(Datum::Integer(value)),
        Value::UInt(value) => return Ok(Datum::Decimal(value.to_string())),
        Value::Float(value) => return Ok(Datum::Double(value.into())),
        Value::Double(value) => return Ok(Datum::Double(value)),
        other @ (Value::Date(..) | Value::Time(..)) => return Err(format!("{other:?} came in another form than text")),
    };
    let kind = column.column_type();
    let text = |raw: Vec<u8>| {
        String::from_utf8(raw).map_err(|_| format!("column {} is no UTF-8; select it as bytes", column.name_str()))
    };
    Ok(match kind {
        ColumnType::MYSQL_TYPE_TINY
        | ColumnType::MYSQL_TYPE_SHORT
        | ColumnType::MYSQL_TYPE_INT24
        | ColumnType::MYSQL_TYPE_LONG
        | ColumnType::MYSQL_TYPE_LONGLONG
        | ColumnType::MYSQL_TYPE_YEAR => {
            let digits = text(raw)?;
            digits.parse().map_or(Datum::Decimal(digits), Datum::Integer)
        }
        ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => Datum::Decimal(text(raw)?),
        ColumnType::MYSQL_TYPE_FLOAT | ColumnType::MYSQL_TYPE_DOUBLE => {
            let digits = text(raw)?;
            Datum::Double(digits.parse().map_err(|_| format!("{digits} is no number"))?)
        }
        ColumnType::MYSQL_TYPE_TIMESTAMP
        | ColumnType::MYSQL_TYPE_TIMESTAMP2
        | ColumnType::MYSQL_TYPE_DATETIME
        | ColumnType::MYSQL_TYPE_DATETIME2 => timestamp(&text(raw)?)?,
        ColumnType::MYSQL_TYPE_JSON => Datum::Json(text(raw)?),
        ColumnType::MYSQL_TYPE_DATE
        | ColumnType::MYSQL_TYPE_NEWDATE
        | ColumnType::MYSQL_TYPE_TIME
        | ColumnType::MYSQL_TYPE_TIME2 => Datum::Text(text(raw)?),
        ColumnType::MYSQL_TYPE_NULL => Datum::Null,
        ColumnType::MYSQL_TYPE_VARCHAR
        | ColumnType::MYSQL_TYPE_VAR_STRING
        | ColumnType::MYSQL_TYPE_STRING
        | ColumnType::MYSQL_TYPE_ENUM
        | ColumnType::MYSQL_TYPE_SET
        | ColumnType::MYSQL_TYPE_TINY_BLOB
        | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
        | ColumnType::MYSQL_TYPE_LONG_BLOB
        | ColumnType::MYSQL_TYPE_BLOB => match column.character_set() {
            BINARY => Datum::Bytes(raw.into()),
            _ => Datum::Text(text(raw)?),
        },
        ColumnType::MYSQL_TYPE_BIT | ColumnType::MYSQL_TYPE_GEOMETRY => Datum::Bytes(raw.into()),
        ColumnType::MYSQL_TYPE_TYPED_ARRAY | ColumnType::MYSQL_TYPE_VECTOR | ColumnType::MYSQL_TYPE_UNKNOWN => {
            return Err(format!("column {} has a type that results do not carry; cast it to text", column.name_str()));
        }
    })
}

/// Returns true if results can carry the values of a column.
pub(crate) fn is_carried(column: &Column) -> bool {
    !matches!(
        column.column_type(),
        ColumnType::MYSQL_TYPE_TYPED_ARRAY | ColumnType::MYSQL_TYPE_VECTOR | ColumnType::MYSQL_TYPE_UNKNOWN
    )
}

/// Reads a time, which the session has in UTC.
fn timestamp(text: &str) -> Result<Datum, String> {
    // What is no date ("0000-00-00") is told as it is.
    let Ok(time) = text.replacen(' ', "T", 1).parse::<DateTime>() else { return Ok(Datum::Text(text.to_owned())) };
    let time = time.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
    Ok(Datum::TimestampUs(time.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_need_no_escapes() {
        for (datum, literal_of_it) in [
            (Datum::Null, "NULL"),
            (Datum::Bool(true), "TRUE"),
            (Datum::Integer(i64::MIN), "-9223372036854775808"),
            (Datum::Double(0.5), "5e-1"),
            (Datum::Decimal("-1.50".to_owned()), "-1.50"),
            (Datum::Text("a'\\b".to_owned()), "_utf8mb4 x'61275c62'"),
            (Datum::Text(String::new()), "_utf8mb4''"),
            (Datum::Bytes(vec![0, 0xff].into()), "x'00ff'"),
            (Datum::TimestampUs(1_000_001), "TIMESTAMP'1970-01-01 00:00:01.000001'"),
            (
                Datum::Uuid(1_u128.to_be_bytes()),
                "_utf8mb4 x'30303030303030302d303030302d303030302d303030302d303030303030303030303031'",
            ),
        ] {
            assert_eq!(literal(&datum).as_deref(), Ok(literal_of_it));
        }
        assert!(literal(&Datum::Double(f64::NAN)).is_err());
    }

    #[test]
    fn times_are_read_in_utc() {
        assert_eq!(timestamp("1970-01-01 00:00:01.5"), Ok(Datum::TimestampUs(1_500_000)));
        assert_eq!(timestamp("0000-00-00 00:00:00"), Ok(Datum::Text("0000-00-00 00:00:00".to_owned())));
    }
}
