//! Protocol buffers, read and written field by field, so that none is passed over that is not known.
//!
//! Reading is inlined: these are a few instructions each of a loop that runs for every piece of work.

use bytes::{Buf as _, Bytes};
use std::fmt;

/// The error of bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

const CUT: Malformed = Malformed("it is cut off");
const OTHER_TYPE: Malformed = Malformed("a field has another type");
const NO_TEXT: Malformed = Malformed("a text is no UTF-8");
const TWICE: Malformed = Malformed("a field is there twice");

/// The fields of a message that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    content: Content<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Number(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Fields(message)
    }

    /// Returns the next field; `None` at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Number(self.varint()?),
            1 => Content::Fixed64(self.take(8)?.get_u64_le()),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT)?;
                Content::Bytes(self.take(length)?)
            }
            5 => Content::Fixed32(self.take(4)?.get_u32_le()),
            _ => return Err(Malformed("a field has a type that there is not")),
        };
        match tag >> 3 {
            0 => Err(Malformed("a field has the number 0")),
            number => Ok(Some(Field { number, content })),
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        self.0.split_off(..length).ok_or(CUT)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        // Almost all of them have one byte.
        if let Some((byte, rest)) = self.0.split_first()
            && *byte < 0x80
        {
            self.0 = rest;
            return Ok((*byte).into());
        }
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = *self.0.split_off_first().ok_or(CUT)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number has more than ten bytes"))
    }
}

impl<'a> Field<'a> {
    #[inline]
    pub(crate) fn message(self) -> Result<Fields<'a>, Malformed> {
        self.slice().map(Fields)
    }

    /// Returns its bytes, which share the memory of the whole.
    #[inline]
    pub(crate) fn bytes(self, whole: &Bytes) -> Result<Bytes, Malformed> {
        self.slice().map(|bytes| whole.slice_ref(bytes))
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.slice()?).map_err(|_| NO_TEXT)
    }

    #[inline]
    fn slice(self) -> Result<&'a [u8], Malformed> {
        match self.content {
            Content::Bytes(bytes) => Ok(bytes),
            Content::Number(_) | Content::Fixed32(_) | Content::Fixed64(_) => Err(OTHER_TYPE),
        }
    }

    fn varint(self) -> Result<u64, Malformed> {
        match self.content {
            Content::Number(number) => Ok(number),
            Content::Bytes(_) | Content::Fixed32(_) | Content::Fixed64(_) => Err(OTHER_TYPE),
        }
    }

    /// Returns a `uint32`, of which a longer number is cut as everybody does.
    #[allow(clippy::cast_possible_truncation, reason = "that is how it is read")]
    pub(crate) fn uint32(self) -> Result<u32, Malformed> {
        self.varint().map(|number| number as u32)
    }

    pub(crate) fn bool(self) -> Result<bool, Malformed> {
        self.varint().map(|number| number != 0)
    }

    pub(crate) fn sint64(self) -> Result<i64, Malformed> {
        self.varint().map(|number| (number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(crate) fn fixed32(self) -> Result<u32, Malformed> {
        match self.content {
            Content::Fixed32(number) => Ok(number),
            Content::Number(_) | Content::Bytes(_) | Content::Fixed64(_) => Err(OTHER_TYPE),
        }
    }

    pub(crate) fn uint64(self) -> Result<u64, Malformed> {
        self.varint()
    }

    pub(crate) fn double(self) -> Result<f64, Malformed> {
        match self.content {
            Content::Fixed64(number) => Ok(f64::from_bits(number)),
            Content::Number(_) | Content::Bytes(_) | Content::Fixed32(_) => Err(OTHER_TYPE),
        }
    }
}

/// Fills a place that may be filled once.
#[inline]
pub(crate) fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    }
}

/// A message that is being written.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Writer(Vec::with_capacity(bytes))
    }

    pub(crate) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.begin(number, bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Begins a message whose length is known; what is written next is what it has.
    pub(crate) fn begin(&mut self, number: u32, length: usize) {
        self.tag(number, 2);
        self.varint(length as u64);
    }

    pub(crate) fn message(&mut self, number: u32, write: impl FnOnce(&mut Writer)) {
        self.tag(number, 2);
        let start = self.0.len();
        write(self);
        let end = self.0.len();
        self.varint((end - start) as u64);
        // Its length stands before it.
        let length_bytes = self.0.len() - end;
        self.0[start..].rotate_right(length_bytes);
    }

    pub(crate) fn uint32(&mut self, number: u32, value: u32) {
        self.tag(number, 0);
        self.varint(value.into());
    }

    pub(crate) fn uint64(&mut self, number: u32, value: u64) {
        self.tag(number, 0);
        self.varint(value);
    }

    pub(crate) fn double(&mut self, number: u32, value: f64) {
        self.tag(number, 1);
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    pub(crate) fn sint64(&mut self, number: u32, value: i64) {
        self.tag(number, 0);
        self.varint(zigzag(value));
    }

    pub(crate) fn fixed32(&mut self, number: u32, value: u32) {
        self.tag(number, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.into()
    }

    fn tag(&mut self, number: u32, wire_type: u32) {
        self.varint((number << 3 | wire_type).into());
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Returns the bytes of a number.
pub(crate) fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Returns the bytes of a `sint64`, without its tag.
pub(crate) fn sint64_bytes(value: i64) -> usize {
    varint_bytes(zigzag(value))
}
