//! Reading a request's bytes, on the assumption that whoever sent them means harm.
//!
//! Nothing is allocated before the bytes for it have been seen: a count is held against the bytes that are left, growth
//! beyond [`RESERVED_MAX`] follows what has been read, and one request may bring [`ELEMENTS_MAX`] elements in all.
//! Bytes after the last known field are left alone, as in Kafka.

use bytes::{Buf, Bytes};
use uuid::Uuid;

/// Elements of all arrays of one request together: some hundred times what a large client's Fetch names.
const ELEMENTS_MAX: usize = 200_000;

/// What a count may reserve before its elements have been read.
const RESERVED_MAX: usize = 256;

/// Tagged fields of one struct; no schema has more than a few.
const TAGS_MAX: u32 = 64;

/// What is wrong with a request's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it ends where {0} more bytes belong")]
    Short(usize),
    #[error("a count of {count} where only {left} bytes are left")]
    Count { count: i64, left: usize },
    #[error("more than {ELEMENTS_MAX} elements")]
    Elements,
    #[error("a variable-length number that does not end")]
    Varint,
    #[error("null where a value must stand")]
    Null,
    #[error("text that is not UTF-8")]
    Text,
    #[error("{0} tagged fields, more than any message has")]
    Tags(u32),
}

/// A position in a request's bytes.
pub(crate) struct Reader {
    left: Bytes,
    flexible: bool,
    elements_left: usize,
}

impl Reader {
    /// Reads fields from `bytes`, in the compact encodings if the version is `flexible`.
    pub(crate) fn new(bytes: Bytes, flexible: bool) -> Reader {
        Reader { left: bytes, flexible, elements_left: ELEMENTS_MAX }
    }

    /// What is behind the fields read so far, to be read in the encodings of another version.
    pub(crate) fn into_body(self, flexible: bool) -> Reader {
        Reader { flexible, ..self }
    }

    fn need(&self, count: usize) -> Result<(), Malformed> {
        match self.left.len() {
            have if have < count => Err(Malformed::Short(count - have)),
            _ => Ok(()),
        }
    }

    pub(crate) fn i8(&mut self) -> Result<i8, Malformed> {
        self.need(1)?;
        Ok(self.left.get_i8())
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.i8()? != 0)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.need(2)?;
        Ok(self.left.get_i16())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.need(4)?;
        Ok(self.left.get_i32())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.need(8)?;
        Ok(self.left.get_i64())
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, Malformed> {
        self.need(16)?;
        Ok(Uuid::from_u128(self.left.get_u128()))
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = u32::from(self.i8()?.cast_unsigned());
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Varint)
    }

    /// A length or count in the compact form (stored as one more than it is), or `None` for null.
    fn compact(&mut self) -> Result<Option<i64>, Malformed> {
        Ok(i64::from(self.varint()?).checked_sub(1).filter(|count| *count >= 0))
    }

    fn plain(count: i64) -> Result<Option<i64>, Malformed> {
        match count {
            -1 => Ok(None),
            count => Ok(Some(count)),
        }
    }

    fn take(&mut self, count: i64) -> Result<Bytes, Malformed> {
        let left = self.left.len();
        match usize::try_from(count) {
            Ok(size) if size <= left => Ok(self.left.split_to(size)),
            _ => Err(Malformed::Count { count, left }),
        }
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<String>, Malformed> {
        let size = if self.flexible { self.compact()? } else { Self::plain(i64::from(self.i16()?))? };
        size.map(|size| self.text(size)).transpose()
    }

    /// A string in the plain encoding, whatever the version: the client id of a request's header.
    pub(crate) fn header_string(&mut self) -> Result<Option<String>, Malformed> {
        let size = Self::plain(i64::from(self.i16()?))?;
        size.map(|size| self.text(size)).transpose()
    }

    fn text(&mut self, size: i64) -> Result<String, Malformed> {
        let bytes = self.take(size)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| Malformed::Text)
    }

    pub(crate) fn string(&mut self) -> Result<String, Malformed> {
        self.nullable_string()?.ok_or(Malformed::Null)
    }

    /// Bytes, shared with the request's own.
    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        let size = if self.flexible { self.compact()? } else { Self::plain(i64::from(self.i32()?))? };
        size.map(|size| self.take(size)).transpose()
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        self.nullable_bytes()?.ok_or(Malformed::Null)
    }

    /// The fields that newer clients may have added to a struct: skipped.
    pub(crate) fn tags(&mut self) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.varint()?;
        if count > TAGS_MAX {
            return Err(Malformed::Tags(count));
        }
        for _ in 0..count {
            self.varint()?;
            let size = self.varint()?;
            self.take(i64::from(size))?;
        }
        Ok(())
    }

    /// An array of values that take `size_min` bytes each at least; `None` for null.
    pub(crate) fn nullable_array<T>(
        &mut self,
        size_min: usize,
        mut element: impl FnMut(&mut Reader) -> Result<T, Malformed>,
    ) -> Result<Option<Vec<T>>, Malformed> {
        let count = if self.flexible { self.compact()? } else { Self::plain(i64::from(self.i32()?))? };
        let Some(count) = count else { return Ok(None) };
        let size = self.count(count, size_min)?;
        let mut all = Vec::with_capacity(size.min(RESERVED_MAX));
        for _ in 0..size {
            all.push(element(self)?);
        }
        Ok(Some(all))
    }

    fn count(&mut self, count: i64, size_min: usize) -> Result<usize, Malformed> {
        let left = self.left.len();
        let size = usize::try_from(count)
            .ok()
            .filter(|size| size.checked_mul(size_min.max(1)).is_some_and(|bytes| bytes <= left))
            .ok_or(Malformed::Count { count, left })?;
        self.elements_left = self.elements_left.checked_sub(size).ok_or(Malformed::Elements)?;
        Ok(size)
    }

    /// An array that is never null.
    pub(crate) fn array<T>(
        &mut self,
        size_min: usize,
        element: impl FnMut(&mut Reader) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        self.nullable_array(size_min, element)?.ok_or(Malformed::Null)
    }

    /// An array of structs: in flexible versions each ends with tagged fields.
    pub(crate) fn structs<T>(
        &mut self,
        size_min: usize,
        element: impl FnMut(&mut Reader) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        self.nullable_structs(size_min, element)?.ok_or(Malformed::Null)
    }

    /// An array of structs, or `None` for null.
    pub(crate) fn nullable_structs<T>(
        &mut self,
        size_min: usize,
        mut element: impl FnMut(&mut Reader) -> Result<T, Malformed>,
    ) -> Result<Option<Vec<T>>, Malformed> {
        self.nullable_array(size_min, |reader| {
            let value = element(reader)?;
            reader.tags()?;
            Ok(value)
        })
    }

    pub(crate) fn strings(&mut self) -> Result<Vec<String>, Malformed> {
        self.array(1, Reader::string)
    }

    pub(crate) fn i32s(&mut self) -> Result<Vec<i32>, Malformed> {
        self.array(4, Reader::i32)
    }
}

#[cfg(test)]
mod tests {
    use super::{Malformed, Reader};
    use bytes::Bytes;
    use proptest::prelude::{any, prop, proptest};

    fn over(bytes: &'static [u8], flexible: bool) -> Reader {
        Reader::new(Bytes::from_static(bytes), flexible)
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_anything_is_reserved() {
        let mut plain = over(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], false);
        assert!(matches!(plain.strings(), Err(Malformed::Count { .. })));
        let mut compact = over(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], true);
        assert!(matches!(compact.strings(), Err(Malformed::Count { .. })));
        let mut negative = over(&[0xff, 0xff, 0xff, 0xf0], false);
        assert!(matches!(negative.strings(), Err(Malformed::Count { .. })));
    }

    #[test]
    fn a_number_of_more_than_five_bytes_is_refused() {
        let mut endless = over(&[0xff; 12], true);
        assert_eq!(endless.bytes(), Err(Malformed::Varint));
    }

    #[test]
    fn null_is_not_a_value() {
        assert_eq!(over(&[0xff, 0xff], false).nullable_string(), Ok(None));
        assert_eq!(over(&[0], true).nullable_string(), Ok(None));
        assert_eq!(over(&[0], true).string(), Err(Malformed::Null));
        assert_eq!(over(&[1], true).string(), Ok(String::new()));
    }

    #[test]
    fn unknown_tagged_fields_are_skipped_and_their_number_is_bounded() {
        let mut reader = over(&[2, 0, 1, 0xaa, 9, 2, 0xbb, 0xcc, 7], true);
        reader.tags().unwrap();
        assert_eq!(reader.i8(), Ok(7));
        assert_eq!(over(&[65], true).tags(), Err(Malformed::Tags(65)));
    }

    #[test]
    fn a_request_has_a_bounded_number_of_elements() {
        let mut bytes = 200_001_u32.to_be_bytes().to_vec();
        bytes.resize(4 + 200_001, 0);
        let mut reader = Reader::new(Bytes::from(bytes), false);
        assert_eq!(reader.array(1, Reader::i8), Err(Malformed::Elements));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), flexible: bool) {
            let mut reader = Reader::new(Bytes::from(bytes), flexible);
            let _ = reader.nullable_structs(2, |r| {
                r.nullable_string()?;
                r.nullable_bytes()?;
                r.strings()?;
                r.uuid()
            });
            let _ = reader.tags();
        }
    }
}
