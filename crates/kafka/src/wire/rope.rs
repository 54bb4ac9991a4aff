//! Writing an answer as a rope: small fields are gathered, record bytes are kept by pointer.
//!
//! An answer to Fetch is then a handful of small pieces between large ones that nobody has copied since they were read
//! from disk, and goes to the socket in one vectored write.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::budget::Paid;
use crate::limits::ONE_ANSWER_BYTES_MAX;
use crate::wire::Fault;

/// Record bytes shorter than this are cheaper to copy than to carry as a piece of their own.
const COPIED_BYTES_MAX: usize = 512;

/// Room for the length that stands before every answer.
const LENGTH_BYTES: usize = 4;

/// An answer in the making.
pub(crate) struct Writer {
    pieces: Vec<Bytes>,
    pieces_bytes: usize,
    tail: BytesMut,
    flexible: bool,
    /// There was more to say than one answer takes: arrays end where that was seen, and nothing is sent.
    too_much: bool,
}

impl Writer {
    /// Begins an answer to the request of this correlation id.
    pub(crate) fn answer(correlation: i32, flexible: bool, flexible_header: bool) -> Writer {
        let tail = BytesMut::with_capacity(256);
        let mut writer =
            Writer { pieces: Vec::new(), pieces_bytes: 0, tail, flexible: flexible_header, too_much: false };
        writer.i32(0); // the length, known at the end
        writer.i32(correlation);
        writer.tags();
        writer.flexible = flexible;
        writer
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.tail.put_i8(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.tail.put_u8(u8::from(value));
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.tail.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.tail.put_i64(value);
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.tail.put_u128(value.as_u128());
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8((value & 0x7f | 0x80) as u8);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    /// A count, or the length of what follows it, in the compact form or as a plain 32-bit number. Whether there is room
    /// for as many bytes: each element of an array has at least one.
    fn length(&mut self, length: usize) -> bool {
        let room = ONE_ANSWER_BYTES_MAX.saturating_sub(self.pieces_bytes + self.tail.len());
        let Some(plain) = i32::try_from(length).ok().filter(|_| length <= room) else {
            self.too_much = true;
            return false;
        };
        match self.flexible {
            true => self.varint(plain.cast_unsigned() + 1),
            false => self.i32(plain),
        }
        true
    }

    pub(crate) fn string(&mut self, value: &str) {
        // Plain strings have 16 bits for their length; longer ones (only messages can be) end there.
        if !self.flexible {
            self.short_string(value);
        } else if self.length(value.len()) {
            self.tail.put_slice(value.as_bytes());
        }
    }

    fn short_string(&mut self, value: &str) {
        let end = value.floor_char_boundary(value.len().min(i16::MAX as usize));
        self.i16(end as i16);
        self.tail.put_slice(&value.as_bytes()[..end]);
    }

    pub(crate) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None if self.flexible => self.varint(0),
            None => self.i16(-1),
        }
    }

    pub(crate) fn bytes(&mut self, value: &Bytes) {
        self.chunks(std::slice::from_ref(value));
    }

    /// One field of bytes that lie in several places.
    pub(crate) fn chunks(&mut self, chunks: &[Bytes]) {
        if !self.length(chunks.iter().map(Bytes::len).sum()) {
            return;
        }
        for chunk in chunks {
            if chunk.len() <= COPIED_BYTES_MAX {
                self.tail.put_slice(chunk);
            } else {
                self.cut();
                self.pieces_bytes += chunk.len();
                self.pieces.push(chunk.clone());
            }
        }
    }

    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.pieces_bytes += self.tail.len();
            self.pieces.push(self.tail.split().freeze());
        }
    }

    /// The end of a struct: in flexible versions, no tagged fields.
    pub(crate) fn tags(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    pub(crate) fn array<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Writer, &T)) {
        if !self.length(values.len()) {
            return;
        }
        for value in values {
            if self.too_much {
                return;
            }
            write(self, value);
        }
    }

    /// An array of structs: each ends with its tagged fields.
    pub(crate) fn structs<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Writer, &T)) {
        self.array(values, |writer, value| {
            write(writer, value);
            writer.tags();
        });
    }

    pub(crate) fn i32s(&mut self, values: &[i32]) {
        self.array(values, |writer, value| writer.i32(*value));
    }

    /// Ends the answer: closes the body and puts the length in front.
    ///
    /// # Errors
    /// [`Fault::TooMuch`] if it is larger than [`ONE_ANSWER_BYTES_MAX`].
    pub(crate) fn finish(mut self) -> Result<Frame, Fault> {
        self.tags();
        self.cut();
        if self.too_much || self.pieces_bytes > ONE_ANSWER_BYTES_MAX {
            return Err(Fault::TooMuch);
        }
        let length = i32::try_from(self.pieces_bytes - LENGTH_BYTES).map_err(|_| Fault::TooMuch)?;
        let mut pieces = VecDeque::from(self.pieces);
        let first = pieces.pop_front().expect("the header was written first");
        let mut first = first.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        first[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        pieces.push_front(first.freeze());
        Ok(Frame { pieces, left: self.pieces_bytes, paid: Vec::new() })
    }
}

/// An answer ready to be sent, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pieces: VecDeque<Bytes>,
    left: usize,
    paid: Vec<Paid>,
}

impl Frame {
    /// Keeps what was paid for its bytes until it is dropped, written or not.
    pub(crate) fn paid_for(&mut self, paid: Option<Paid>) {
        self.paid.extend(paid);
    }

    /// Puts another answer behind this one.
    pub(crate) fn append(&mut self, other: Frame) {
        self.left += other.left;
        self.pieces.extend(other.pieces);
        self.paid.extend(other.paid);
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| &piece[..])
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slot, piece) in into.iter_mut().zip(&self.pieces) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.left, "advanced past the end of an answer");
        self.left -= count;
        while count > 0 {
            let front = self.pieces.front_mut().expect("the pieces hold what is left");
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;
    use crate::wire::Fault;
    use bytes::{Buf, Bytes};

    #[test]
    fn an_answer_begins_with_its_length_and_correlation_id() {
        let mut writer = Writer::answer(7, true, false);
        writer.string("ab");
        let bytes = { writer.finish().unwrap() }.copy_to_bytes(12);
        assert_eq!(&bytes[..], [0, 0, 0, 8, 0, 0, 0, 7, 3, b'a', b'b', 0]);
    }

    #[test]
    fn large_bytes_are_kept_by_pointer_and_small_ones_gathered() {
        let large = Bytes::from(vec![7; 100_000]);
        let mut writer = Writer::answer(1, false, false);
        writer.chunks(&[Bytes::from_static(b"small"), large.clone(), Bytes::from_static(b"end")]);
        let mut frame = writer.finish().unwrap();
        assert_eq!(frame.pieces.len(), 3);
        assert_eq!(frame.pieces[1].as_ptr(), large.as_ptr());
        assert_eq!(frame.get_i32(), 4 + 4 + 100_008);
        assert_eq!((frame.get_i32(), frame.get_i32()), (1, 100_008));
        frame.advance(5 + 100_000);
        assert_eq!(frame.chunk(), b"end");
    }

    #[test]
    fn an_answer_beyond_its_limit_is_refused_and_takes_no_room() {
        let piece = Bytes::from(vec![7; 1 << 20]);
        for flexible in [true, false] {
            let mut writer = Writer::answer(1, flexible, false);
            writer.structs(&[(); 3000], |writer, ()| writer.bytes(&piece));
            assert!(writer.pieces.len() < 600, "{} pieces", writer.pieces.len());
            assert_eq!(writer.finish().map(|frame| frame.left), Err(Fault::TooMuch));
        }
        let mut writer = Writer::answer(1, false, false);
        for _ in 0..255 {
            writer.bytes(&piece);
        }
        assert!(writer.finish().is_ok());
    }

    #[test]
    fn a_message_too_long_for_a_plain_string_ends_at_a_whole_character() {
        let mut writer = Writer::answer(1, false, false);
        writer.string(&"ä".repeat(20_000));
        let mut frame = writer.finish().unwrap();
        frame.advance(8);
        assert_eq!(frame.get_i16(), 32_766);
        assert_eq!(frame.remaining(), 32_766);
    }
}
