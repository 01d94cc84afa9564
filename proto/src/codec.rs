//! The codec of all services: prost's, with a bound of what a message becomes when it is read.
//!
//! An empty entry of a list takes two bytes on the wire, and two hundred in memory. So a message that is within its length
//! can be many times as large once it is read: whoever may send one could fill the memory, before anybody has looked at
//! what it says. Its entries are counted beforehand.

mod entries;

use bytes::Buf as _;
use entries::Kinds;
use prost::{Message, Name};
use std::marker::PhantomData;
use std::sync::LazyLock;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;
use undoubt_vocabulary::limits::MAX_ENTRIES_BYTES;

/// A shorter message is within the bound whatever it says, so most are not looked at.
const UNCHECKED_BYTES: usize = 64 << 10;

static KINDS: LazyLock<Kinds> = LazyLock::new(|| Kinds::described_by(crate::FILE_DESCRIPTOR_SET));

/// The lists of a message would take more memory than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a message of {bytes} bytes has lists whose entries take more than {MAX_ENTRIES_BYTES} bytes in memory \
     (MAX_ENTRIES_BYTES), and nothing was done with it; send fewer entries at a time"
)]
pub struct TooManyEntries {
    pub bytes: usize,
}

/// Checks what an encoded message would become when it is read.
///
/// # Errors
/// If its lists have too many entries. Whether it can be read at all is for its reader to find out.
pub fn check<T: Name>(encoded: &[u8]) -> Result<(), TooManyEntries> {
    let bytes = encoded.len();
    if bytes < UNCHECKED_BYTES || KINDS.fit::<T>(encoded, MAX_ENTRIES_BYTES) {
        Ok(())
    } else {
        Err(TooManyEntries { bytes })
    }
}

/// The codec of messages that go out as `T` and come in as `U`.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Codec(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as tonic::codec::Codec>::Encoder;
    type Decoder = Bounded<<ProstCodec<T, U> as tonic::codec::Codec>::Decoder>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Bounded(ProstCodec::<T, U>::default().decoder())
    }
}

/// A decoder that reads only what is within the bound.
#[derive(Debug)]
pub struct Bounded<D>(D);

impl<D> Decoder for Bounded<D>
where
    D: Decoder<Error = Status>,
    D::Item: Name,
{
    type Item = D::Item;
    type Error = Status;

    fn decode(&mut self, encoded: &mut DecodeBuf<'_>) -> Result<Option<D::Item>, Status> {
        debug_assert_eq!(encoded.chunk().len(), encoded.remaining(), "a message is in one piece");
        check::<D::Item>(encoded.chunk()).map_err(|too_many| Status::invalid_argument(too_many.to_string()))?;
        self.0.decode(encoded)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

#[cfg(test)]
mod tests;
