//! The entries of a message's lists, counted on the wire.

use bytes::Bytes;
use prost::{Message as _, Name};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::BTreeMap;

/// The bytes that a number takes in memory at most, and one that may be absent.
const NUMBER_BYTES: usize = 8;
const OPTIONAL_NUMBER_BYTES: usize = 16;

/// The bytes that telling apart takes: which of several there is, or whether there is one.
const TAG_BYTES: usize = 8;

/// The kinds of messages there are.
pub(super) struct Kinds {
    by_name: BTreeMap<String, usize>,
    fields: Vec<Vec<Field>>,
}

/// A field that has something to count: a list, or a message within which there may be lists.
struct Field {
    number: u64,
    /// The bytes of an entry in memory, of its own lists apart; 0 where there is no list.
    entry_bytes: usize,
    /// The kind of a message.
    kind: Option<usize>,
    /// Many numbers may share one field on the wire.
    is_number: bool,
}

impl Kinds {
    pub(super) fn described_by(descriptors: &[u8]) -> Kinds {
        let files = FileDescriptorSet::decode(descriptors).expect("what the build has compiled in is whole").file;
        let mut described = Vec::new();
        for file in &files {
            file.message_type.iter().for_each(|message| gather(message, file.package(), &mut described));
        }
        let by_name: BTreeMap<String, usize> =
            described.iter().enumerate().map(|(kind, (name, _))| (name.clone(), kind)).collect();
        let messages: Vec<&DescriptorProto> = described.into_iter().map(|(_, message)| message).collect();
        let sizes = Sizes { by_name: &by_name, messages: &messages };
        let fields = messages.iter().map(|message| sizes.fields_of(message)).collect();
        Kinds { by_name, fields }
    }

    /// Returns whether the lists of this message have entries of no more than so many bytes. What cannot be read further is
    /// not read by anybody, and counts up to there.
    pub(super) fn fit<T: Name>(&self, encoded: &[u8], most_bytes: usize) -> bool {
        let mut left = most_bytes;
        self.by_name.get(&T::full_name()).is_none_or(|kind| self.pass(*kind, encoded, &mut left))
    }

    fn pass(&self, kind: usize, mut encoded: &[u8], left: &mut usize) -> bool {
        while let Some((number, content)) = next_field(&mut encoded) {
            let Some(field) = self.fields[kind].iter().find(|field| field.number == number) else { continue };
            // A number takes one byte of its list at least.
            let entries = content.filter(|_| field.is_number).map_or(1, <[u8]>::len);
            match left.checked_sub(field.entry_bytes * entries) {
                None => return false,
                Some(less) => *left = less,
            }
            if let (Some(kind), Some(content)) = (field.kind, content)
                && !self.pass(kind, content, left)
            {
                return false;
            }
        }
        true
    }
}

/// Gathers a message and those that are declared within it, with their full names.
fn gather<'a>(message: &'a DescriptorProto, place: &str, all: &mut Vec<(String, &'a DescriptorProto)>) {
    let name = format!("{place}.{}", message.name());
    message.nested_type.iter().for_each(|nested| gather(nested, &name, all));
    all.push((name, message));
}

/// The sizes of messages in memory. No kind has one of its own within it, or these would not end.
struct Sizes<'a> {
    by_name: &'a BTreeMap<String, usize>,
    messages: &'a [&'a DescriptorProto],
}

impl Sizes<'_> {
    fn kind_of(&self, field: &FieldDescriptorProto) -> Option<usize> {
        self.by_name.get(field.type_name().trim_start_matches('.')).copied()
    }

    fn fields_of(&self, message: &DescriptorProto) -> Vec<Field> {
        let field = |field: &FieldDescriptorProto| {
            let (kind, is_list) = (self.kind_of(field), field.label() == Label::Repeated);
            let entry_bytes = if is_list { self.one(field) } else { 0 };
            let is_number = !matches!(field.r#type(), Type::Message | Type::Bytes | Type::String);
            let number = u64::try_from(field.number()).expect("numbers of fields are positive");
            (is_list || kind.is_some()).then_some(Field { number, entry_bytes, kind, is_number })
        };
        message.field.iter().filter_map(field).collect()
    }

    fn message(&self, message: &DescriptorProto) -> usize {
        let mut bytes = 0;
        // Of what excludes each other the largest.
        let mut choices = BTreeMap::new();
        for field in &message.field {
            let own = if field.label() == Label::Repeated { size_of::<Vec<Bytes>>() } else { self.one(field) };
            match field.oneof_index {
                None => bytes += own,
                Some(choice) => {
                    let largest = choices.entry(choice).or_insert(0);
                    *largest = own.max(*largest);
                }
            }
        }
        bytes + choices.values().map(|largest| largest + TAG_BYTES).sum::<usize>()
    }

    /// Returns the bytes of one value of this field, without what it points to.
    fn one(&self, field: &FieldDescriptorProto) -> usize {
        match (field.r#type(), self.kind_of(field)) {
            (Type::Message, Some(kind)) => self.message(self.messages[kind]) + TAG_BYTES,
            (Type::Bytes, _) => size_of::<Bytes>(),
            (Type::String, _) => size_of::<String>(),
            _ if field.proto3_optional() => OPTIONAL_NUMBER_BYTES,
            _ => NUMBER_BYTES,
        }
    }
}

/// Returns the number of the next field, with its content if its length stands before it; `None` at the end, and where
/// nothing more can be read. What groups hold counts as if it were outside of them.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = varint(rest)?;
    let content = match tag & 7 {
        0 => varint(rest).map(|_| None)?,
        1 => rest.split_off(..8).map(|_| None)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Some(rest.split_off(..length)?)
        }
        3 | 4 => None,
        5 => rest.split_off(..4).map(|_| None)?,
        _ => return None,
    };
    Some((tag >> 3, content))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
impl Kinds {
    pub(super) fn largest_entry_bytes(&self) -> usize {
        self.fields.iter().flatten().map(|field| field.entry_bytes).max().unwrap_or_default()
    }
}
