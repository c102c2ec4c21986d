//! JSON lists into typed buffers.
//!
//! `data` may be flat or nested in any way that fits the shape. Nesting carries no information that the shape does
//! not, but lists of the wrong length are a client's mistake (a transposed matrix, a short row) that a bare count of
//! values would let through.
//!
//! Invariant: values are appended in row-major order and never more than the shape has.

use super::super::ProtocolError;
use super::super::json::{ScanResult, Scanner, read_float32, read_float64};
use super::super::limits::{MAX_DEPTH, MAX_EMPTY_DIMENSION, MIN_BYTES_PER_VALUE};
use super::value_count;
use crate::tensor::{ByteStrings, DataType, Shape, Tensor, TensorData};

/// A typed buffer that reads its values from JSON.
pub(in crate::protocol) trait Values {
    /// How many values there are.
    fn count(&self) -> usize;

    /// Reads one value.
    fn read_one(&mut self, scanner: &mut Scanner<'_>) -> ScanResult<()>;

    /// Reads values up to the end of the list whose first value is next, but at most `limit` in all; whether the list
    /// ended.
    fn read_list(&mut self, scanner: &mut Scanner<'_>, limit: usize) -> ScanResult<bool>;
}

/// A value that JSON carries.
trait Element: Sized {
    fn read(scanner: &mut Scanner<'_>) -> ScanResult<Self>;

    /// As [`Values::read_list`].
    fn read_list(values: &mut Vec<Self>, scanner: &mut Scanner<'_>, limit: usize) -> ScanResult<bool>;
}

/// The lists of one tensor's `data` while they are read.
struct Nesting<'v> {
    values: &'v mut dyn Values,
    shape: Shape,
    /// The product of the shape.
    expected: usize,
    /// How many values the lists of each level hold, once the first one is read.
    list_lengths: [Option<usize>; MAX_DEPTH + 1],
}

impl Element for bool {
    fn read(scanner: &mut Scanner<'_>) -> ScanResult<Self> {
        scanner.boolean()
    }

    fn read_list(values: &mut Vec<Self>, scanner: &mut Scanner<'_>, limit: usize) -> ScanResult<bool> {
        while values.len() < limit {
            values.push(Self::read(scanner)?);
            if !scanner.another(b']')? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Element for f32 {
    #[inline(always)]
    fn read(scanner: &mut Scanner<'_>) -> ScanResult<Self> {
        read_float32(scanner)
    }

    fn read_list(values: &mut Vec<Self>, scanner: &mut Scanner<'_>, limit: usize) -> ScanResult<bool> {
        scanner.numbers(values, limit, Self::read)
    }
}

impl Element for f64 {
    #[inline]
    fn read(scanner: &mut Scanner<'_>) -> ScanResult<Self> {
        read_float64(scanner)
    }

    fn read_list(values: &mut Vec<Self>, scanner: &mut Scanner<'_>, limit: usize) -> ScanResult<bool> {
        scanner.numbers(values, limit, Self::read)
    }
}

macro_rules! integer_elements {
    ($( $element:ty => $datatype:ident, )*) => { $(
        impl Element for $element {
            #[inline]
            fn read(scanner: &mut Scanner<'_>) -> ScanResult<Self> {
                scanner.whole_number("a whole number")?.to_integer(DataType::$datatype)
            }

            fn read_list(values: &mut Vec<Self>, scanner: &mut Scanner<'_>, limit: usize) -> ScanResult<bool> {
                scanner.numbers(values, limit, Self::read)
            }
        }
    )* };
}

integer_elements! {
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
}

impl<T: Element> Values for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }

    fn read_one(&mut self, scanner: &mut Scanner<'_>) -> ScanResult<()> {
        self.push(T::read(scanner)?);
        Ok(())
    }

    fn read_list(&mut self, scanner: &mut Scanner<'_>, limit: usize) -> ScanResult<bool> {
        T::read_list(self, scanner, limit)
    }
}

impl Values for ByteStrings {
    fn count(&self) -> usize {
        self.len()
    }

    fn read_one(&mut self, scanner: &mut Scanner<'_>) -> ScanResult<()> {
        self.push(scanner.string(&mut String::new(), "a string")?.as_bytes());
        Ok(())
    }

    fn read_list(&mut self, scanner: &mut Scanner<'_>, limit: usize) -> ScanResult<bool> {
        let mut scratch = String::new();
        while self.len() < limit {
            self.push(scanner.string(&mut scratch, "a string")?.as_bytes());
            if !scanner.another(b']')? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Nesting<'_> {
    /// Reads the list that is next; `level` 0 is the outermost.
    fn read(&mut self, scanner: &mut Scanner<'_>, level: usize) -> Result<(), ProtocolError> {
        scanner.open(b'[', "a list of values")?;
        let before = self.values.count();
        match scanner.peek() {
            Some(b']') => drop(scanner.close(b']')),
            Some(b'[') => loop {
                self.read(scanner, level + 1)?;
                if !scanner.another(b']')? {
                    break;
                }
            },
            _ => {
                if !self.values.read_list(scanner, self.expected)? {
                    return Err(ProtocolError::TooManyValues { shape: self.shape, expected: self.expected });
                }
            }
        }
        // The outermost list holds all values; their count is the tensor's own invariant.
        if level == 0 { Ok(()) } else { self.check_list(level, self.values.count() - before) }
    }

    /// A nested list must be as long as its neighbours, and hold the values of some trailing dimensions.
    fn check_list(&mut self, level: usize, found: usize) -> Result<(), ProtocolError> {
        let length = *self.list_lengths[level].get_or_insert(found);
        let dimensions = self.shape.dimensions();
        let is_trailing_product = (0..=dimensions.len()).any(|first| value_count(&dimensions[first..]) == found);
        if length == found && is_trailing_product {
            Ok(())
        } else {
            Err(ProtocolError::UnevenNesting { shape: self.shape, found })
        }
    }
}

/// Reads the list of values that is next into a tensor of `shape`.
///
/// # Errors
/// What is wrong with a value, a nested list or the number of values, and datatypes that JSON does not carry.
pub(in crate::protocol) fn read_tensor(
    scanner: &mut Scanner<'_>,
    datatype: DataType,
    shape: Shape,
) -> Result<Tensor, ProtocolError> {
    let expected = shape.element_count()?;
    if expected == 0 && shape.dimensions().iter().any(|&size| size > MAX_EMPTY_DIMENSION) {
        return Err(ProtocolError::EmptyOverLimit { shape });
    }
    let mut data = TensorData::with_capacity(datatype, expected.min(scanner.remaining() / MIN_BYTES_PER_VALUE + 1));
    let values = typed_values(&mut data)?;
    Nesting { values, shape, expected, list_lengths: [None; MAX_DEPTH + 1] }.read(scanner, 0)?;
    Ok(Tensor::try_new(shape, data)?)
}

/// `data` as a buffer that reads JSON.
///
/// # Errors
/// [`ProtocolError::NotInJson`] for the 16-bit floats: Triton and KServe refuse them in JSON too.
pub(in crate::protocol) fn typed_values(data: &mut TensorData) -> Result<&mut dyn Values, ProtocolError> {
    Ok(match data {
        TensorData::Bool(values) => values,
        TensorData::Uint8(values) => values,
        TensorData::Uint16(values) => values,
        TensorData::Uint32(values) => values,
        TensorData::Uint64(values) => values,
        TensorData::Int8(values) => values,
        TensorData::Int16(values) => values,
        TensorData::Int32(values) => values,
        TensorData::Int64(values) => values,
        TensorData::Fp32(values) => values,
        TensorData::Fp64(values) => values,
        TensorData::Bytes(values) => values,
        TensorData::Fp16(_) | TensorData::Bf16(_) => {
            return Err(ProtocolError::NotInJson { datatype: data.datatype() });
        }
    })
}
