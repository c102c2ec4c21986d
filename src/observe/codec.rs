//! Bytes for counters: what a snapshot in the state store is written in.
//!
//! Numbers are LEB128 varints (<https://en.wikipedia.org/wiki/LEB128>), because most counts of a slice are small: a
//! feature's windows take 3 KB instead of 20. Signed numbers are folded so that small ones of either sign stay short
//! (zigzag). Floats are their bits, so that they read back exactly. JSON was considered and left: five times the bytes,
//! and the disk is where a snapshot's time goes.
//!
//! Invariant: reading is total. Whatever the bytes, a [`Reader`] answers values or [`Malformed`], never panics, and never
//! allocates more than the bytes it was given.

/// Bytes that are not what was written: cut off, of another layout, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are cut off or not of the expected layout")]
pub struct Malformed;

/// Writes values one after the other.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// A byte.
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A number, 1 to 10 bytes.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number of either sign, shorter the nearer it is to zero.
    pub fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A float, 8 bytes.
    pub fn float(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// Bytes with their number before them.
    pub fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A time in nanoseconds; up to the year 2554.
    pub fn time(&mut self, value: std::time::Duration) {
        self.number(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Something that may be missing: whether it is there, then what `write` makes of it.
    pub fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// What `write` writes, as bytes with their number before them, so that a reader can leave it out.
    pub fn section(&mut self, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(&inner.0);
    }
}

/// Reads values in the order they were written.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these bytes from the front.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A byte.
    ///
    /// # Errors
    /// [`Malformed`] at the end of the bytes.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    /// A number.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes end within it or it does not fit 64 bits.
    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A number of either sign.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let folded = self.number()?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    /// A float.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes end within it.
    pub fn float(&mut self) -> Result<f64, Malformed> {
        let (bits, rest) = self.0.split_first_chunk::<8>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(f64::from_bits(u64::from_le_bytes(*bits)))
    }

    /// Bytes that were written with their number.
    ///
    /// # Errors
    /// [`Malformed`] when fewer are left than that number.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_too_long| Malformed)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A time.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub fn time(&mut self) -> Result<std::time::Duration, Malformed> {
        Ok(std::time::Duration::from_nanos(self.number()?))
    }

    /// Something that may be missing.
    ///
    /// # Errors
    /// What `read` says, and [`Malformed`] when it is neither there nor missing.
    pub fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Malformed),
        }
    }

    /// A reader of what [`Writer::section`] wrote.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn section(&mut self) -> Result<Self, Malformed> {
        self.bytes().map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            number in any::<u64>(),
            signed in any::<i64>(),
            bits in any::<u64>(),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            option in any::<Option<u64>>(),
        ) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.signed(signed);
            writer.float(f64::from_bits(bits));
            writer.bytes(&bytes);
            writer.optional(option, Writer::number);
            writer.section(|writer| writer.byte(7));
            let written = writer.finish();
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.float().map(f64::to_bits), Ok(bits));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.optional(Reader::number), Ok(option));
            prop_assert_eq!(reader.section().and_then(|mut inner| inner.byte()), Ok(7));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_read_to_the_end_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let mut read = 0;
            while !reader.is_empty() && read <= bytes.len() {
                read += 1;
                let before = reader.0.len();
                let refused = match read % 4 {
                    0 => reader.number().is_err(),
                    1 => reader.bytes().is_err(),
                    2 => reader.float().is_err(),
                    _ => reader.optional(Reader::signed).is_err(),
                };
                prop_assert!(refused || reader.0.len() < before);
                if refused {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut longest = [0xff_u8; 10];
        longest[9] = 1;
        assert_eq!(Reader::new(&longest).number(), Ok(u64::MAX));
        longest[9] = 2;
        assert_eq!(Reader::new(&longest).number(), Err(Malformed));
        assert_eq!(Reader::new(&[0xff; 11]).number(), Err(Malformed));
        assert_eq!(Reader::new(&[0x80]).number(), Err(Malformed));
    }
}
