//! The protobuf wire format, as far as an ONNX file needs it.
//!
//! Generated message types would be the obvious choice, but they copy every weight to read three names, drop the fields
//! they do not know, and so could not edit a model without losing parts of it. This reader borrows from the file's
//! bytes, skips what nobody asks for, and hands each field back with the very bytes it stood in, so that an edited
//! model differs from the original in the edit alone.
//!
//! Source: the protocol buffers encoding specification, wire types 0 (varint), 1 (64 bits), 2 (length-delimited) and
//! 5 (32 bits). The deprecated groups (3 and 4) do not occur in ONNX and are refused.
//!
//! Invariant: joining [`Field::raw`] of all fields gives the message back, byte for byte.

/// The bytes are not a protobuf message, or a field is not of the type that ONNX gives it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WireError(pub(crate) &'static str);

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A number of fixed width; nothing that is read here is one.
    Fixed,
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    pub(crate) value: Value<'a>,
    /// The field as it stands in the message, tag included.
    pub(crate) raw: &'a [u8],
}

/// The fields of a message, in the order they stand in.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl<'a> Field<'a> {
    pub(crate) fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed => Err(WireError("a field that should hold bytes holds a number")),
        }
    }

    pub(crate) fn text(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_not_utf8| WireError("a name is not UTF-8"))
    }

    pub(crate) fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(number) => Ok(number),
            Value::Bytes(_) | Value::Fixed => Err(WireError("a field that should hold a number does not")),
        }
    }

    pub(crate) fn fields(&self) -> Result<Fields<'a>, WireError> {
        Ok(Fields::of(self.bytes()?))
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn read_varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError("it ends inside a number"))?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(WireError("a number is longer than ten bytes"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], WireError> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (head, rest) = taken.ok_or(WireError("it ends inside a field"))?;
        self.rest = rest;
        Ok(head)
    }

    fn read_field(&mut self) -> Result<Field<'a>, WireError> {
        let start = self.rest;
        let tag = self.read_varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.read_varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.read_varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(WireError("a field has a wire type that ONNX does not use")),
        };
        let number = tag >> 3;
        if number == 0 {
            return Err(WireError("a field has number 0"));
        }
        Ok(Field { number, value, raw: &start[..start.len() - self.rest.len()] })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read_field();
        if field.is_err() {
            // Nothing behind a broken field can be trusted.
            self.rest = &[];
        }
        Some(field)
    }
}

impl Message {
    pub(crate) fn varint(mut self, number: u64, value: u64) -> Self {
        self.push_varint(number << 3);
        self.push_varint(value);
        self
    }

    pub(crate) fn bytes(mut self, number: u64, value: &[u8]) -> Self {
        self.push_varint(number << 3 | 2);
        self.push_varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    pub(crate) fn message(self, number: u64, value: &Self) -> Self {
        self.bytes(number, &value.bytes)
    }

    /// Appends a field as it stood in another message.
    pub(crate) fn raw(mut self, field: &Field<'_>) -> Self {
        self.bytes.extend_from_slice(field.raw);
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            // The mask keeps seven bits, so the cast loses nothing.
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(bytes: &[u8]) -> Result<Vec<Field<'_>>, WireError> {
        Fields::of(bytes).collect()
    }

    #[test]
    fn no_bytes_are_a_message_without_fields() {
        assert_eq!(collect(&[]), Ok(Vec::new()));
    }

    #[test]
    fn a_cut_message_is_an_error_and_nothing_follows_it() {
        let whole = Message::default().bytes(2, b"graph").into_bytes();
        for length in 1..whole.len() {
            let mut fields = Fields::of(&whole[..length]);
            assert!(fields.next().unwrap().is_err(), "cut after {length} bytes");
            assert_eq!(fields.next(), None);
        }
    }

    #[test]
    fn a_length_beyond_the_address_range_is_an_error() {
        let mut bytes = vec![2 << 3 | 2];
        bytes.extend([0xff; 9]);
        bytes.push(1);
        assert_eq!(collect(&bytes), Err(WireError("it ends inside a field")));
    }

    #[test]
    fn groups_and_field_number_zero_are_refused() {
        assert!(collect(&[1 << 3 | 3]).is_err());
        assert!(collect(&[0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(fields in prop::collection::vec((1_u64..1000, any::<u64>(), prop::collection::vec(any::<u8>(), 0..200)), 0..8)) {
            let mut message = Message::default();
            for (number, value, bytes) in &fields {
                message = message.varint(*number, *value).bytes(*number, bytes);
            }
            let written = message.into_bytes();
            let read = collect(&written).unwrap();
            let joined: Vec<u8> = read.iter().flat_map(|field| field.raw.iter().copied()).collect();
            prop_assert_eq!(&joined, &written);
            for ((number, value, bytes), pair) in fields.iter().zip(read.chunks(2)) {
                prop_assert_eq!((pair[0].number, pair[0].varint()), (*number, Ok(*value)));
                prop_assert_eq!((pair[1].number, pair[1].bytes()), (*number, Ok(&bytes[..])));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let consumed: usize = Fields::of(&bytes).map_while(Result::ok).map(|field| field.raw.len()).sum();
            prop_assert!(consumed <= bytes.len());
        }
    }
}
