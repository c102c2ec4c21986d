//! Typed values in row-major order.
//!
//! One enum variant per datatype instead of raw bytes with a tag: an engine or an encoder matches once per tensor and
//! then works on a plain typed slice, which the compiler can vectorise, without `unsafe`.
//!
//! Invariant: a [`Tensor`]'s number of values equals the product of its shape.

use super::{Shape, TensorError};
use std::fmt;
use std::str::FromStr;

macro_rules! datatypes {
    ($( $variant:ident, $name:literal, $element:ty, $what:literal; )*) => {
        /// The datatypes of the Open Inference Protocol, plus `BF16` as Triton has it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DataType {
            $( #[doc = $what] $variant, )*
            /// Byte strings of any length.
            Bytes,
        }

        /// The values of a tensor, row-major.
        #[derive(Clone, Debug, PartialEq)]
        pub enum TensorData {
            $( #[doc = $what] $variant(Vec<$element>), )*
            /// Byte strings of any length.
            Bytes(ByteStrings),
        }

        impl DataType {
            /// The protocol's name, case-sensitive.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $name, )*
                    Self::Bytes => "BYTES",
                }
            }
        }

        impl FromStr for DataType {
            type Err = TensorError;

            fn from_str(name: &str) -> Result<Self, TensorError> {
                match name {
                    $( $name => Ok(Self::$variant), )*
                    "BYTES" => Ok(Self::Bytes),
                    _ => Err(TensorError::UnknownDataType { name: name.chars().take(40).collect() }),
                }
            }
        }

        impl TensorData {
            /// An empty buffer with room for `capacity` values.
            #[must_use]
            pub fn with_capacity(datatype: DataType, capacity: usize) -> Self {
                match datatype {
                    $( DataType::$variant => Self::$variant(Vec::with_capacity(capacity)), )*
                    DataType::Bytes => Self::Bytes(ByteStrings::default()),
                }
            }

            /// How many values there are.
            #[must_use]
            pub fn len(&self) -> usize {
                match self {
                    $( Self::$variant(values) => values.len(), )*
                    Self::Bytes(values) => values.len(),
                }
            }

            /// Bytes of memory that are held for the values.
            #[must_use]
            pub fn bytes(&self) -> usize {
                match self {
                    $( Self::$variant(values) => values.capacity() * size_of::<$element>(), )*
                    Self::Bytes(values) => values.bytes.capacity() + values.ends.capacity() * size_of::<usize>(),
                }
            }

            /// The datatype of the values.
            #[must_use]
            pub fn datatype(&self) -> DataType {
                match self {
                    $( Self::$variant(_) => DataType::$variant, )*
                    Self::Bytes(_) => DataType::Bytes,
                }
            }

            /// The first `count` values, again from the first where there are not enough; none if there are none.
            fn cycled(&self, count: usize) -> Self {
                match self {
                    $( Self::$variant(values) => Self::$variant(values.iter().copied().cycle().take(count).collect()), )*
                    Self::Bytes(values) => {
                        let places = (0..values.len()).cycle().take(count);
                        Self::Bytes(places.filter_map(|place| values.get(place)).collect())
                    }
                }
            }
        }
    };
}

datatypes! {
    Bool, "BOOL", bool, "True or false.";
    Uint8, "UINT8", u8, "Unsigned, 8 bits.";
    Uint16, "UINT16", u16, "Unsigned, 16 bits.";
    Uint32, "UINT32", u32, "Unsigned, 32 bits.";
    Uint64, "UINT64", u64, "Unsigned, 64 bits.";
    Int8, "INT8", i8, "Signed, 8 bits.";
    Int16, "INT16", i16, "Signed, 16 bits.";
    Int32, "INT32", i32, "Signed, 32 bits.";
    Int64, "INT64", i64, "Signed, 64 bits.";
    Fp16, "FP16", half::f16, "IEEE 754 binary16.";
    Bf16, "BF16", half::bf16, "Upper half of an IEEE 754 binary32.";
    Fp32, "FP32", f32, "IEEE 754 binary32.";
    Fp64, "FP64", f64, "IEEE 754 binary64.";
}

impl fmt::Display for DataType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl TensorData {
    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies values from `start` on as doubles, as many as `into` takes, converted as in
    /// [`visit_numbers`](Self::visit_numbers). Where there are none, `into` stays as it is.
    #[expect(clippy::cast_precision_loss, reason = "as in visit_numbers")]
    pub fn read_numbers(&self, start: usize, into: &mut [f64]) {
        fn copy<T: Copy>(values: &[T], start: usize, into: &mut [f64], widen: impl Fn(T) -> f64) {
            let values = values.get(start..).unwrap_or_default();
            into.iter_mut().zip(values).for_each(|(number, &value)| *number = widen(value));
        }
        match self {
            Self::Bool(values) => copy(values, start, into, |value| f64::from(u8::from(value))),
            Self::Uint8(values) => copy(values, start, into, f64::from),
            Self::Uint16(values) => copy(values, start, into, f64::from),
            Self::Uint32(values) => copy(values, start, into, f64::from),
            Self::Uint64(values) => copy(values, start, into, |value| value as f64),
            Self::Int8(values) => copy(values, start, into, f64::from),
            Self::Int16(values) => copy(values, start, into, f64::from),
            Self::Int32(values) => copy(values, start, into, f64::from),
            Self::Int64(values) => copy(values, start, into, |value| value as f64),
            Self::Fp16(values) => copy(values, start, into, half::f16::to_f64),
            Self::Bf16(values) => copy(values, start, into, half::bf16::to_f64),
            Self::Fp32(values) => copy(values, start, into, f64::from),
            Self::Fp64(values) => copy(values, start, into, |value| value),
            Self::Bytes(_) => {}
        }
    }

    /// Shows every value as a double to `visit`, with its position; false and true as 0 and 1, integers beyond 2^53
    /// rounded to the nearest. Byte strings have no numbers: nothing is shown, and the answer is false.
    #[expect(clippy::cast_precision_loss, reason = "said in the documentation; bins are far wider")]
    pub fn visit_numbers(&self, visit: impl FnMut(usize, f64)) -> bool {
        fn each<T: Copy>(values: &[T], widen: impl Fn(T) -> f64, mut visit: impl FnMut(usize, f64)) {
            for (position, &value) in values.iter().enumerate() {
                visit(position, widen(value));
            }
        }
        match self {
            Self::Bool(values) => each(values, |value| f64::from(u8::from(value)), visit),
            Self::Uint8(values) => each(values, f64::from, visit),
            Self::Uint16(values) => each(values, f64::from, visit),
            Self::Uint32(values) => each(values, f64::from, visit),
            Self::Uint64(values) => each(values, |value| value as f64, visit),
            Self::Int8(values) => each(values, f64::from, visit),
            Self::Int16(values) => each(values, f64::from, visit),
            Self::Int32(values) => each(values, f64::from, visit),
            Self::Int64(values) => each(values, |value| value as f64, visit),
            Self::Fp16(values) => each(values, half::f16::to_f64, visit),
            Self::Bf16(values) => each(values, half::bf16::to_f64, visit),
            Self::Fp32(values) => each(values, f64::from, visit),
            Self::Fp64(values) => each(values, |value| value, visit),
            Self::Bytes(_) => return false,
        }
        true
    }
}

/// Byte strings, one behind the other in one buffer: two allocations for any number of strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteStrings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ByteStrings {
    /// Appends one string.
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// How many strings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no strings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string at `index`, if there is one.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.bytes[start..end])
    }

    /// All strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for ByteStrings {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut strings = Self::default();
        for value in values {
            strings.push(value.as_ref());
        }
        strings
    }
}

/// A typed n-dimensional value.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: TensorData,
}

impl Tensor {
    /// A tensor of `data` in row-major order.
    ///
    /// # Errors
    /// [`TensorError::CountMismatch`] when the number of values is not the product of the shape,
    /// [`TensorError::TooManyElements`] when that product overflows.
    pub fn try_new(shape: Shape, data: TensorData) -> Result<Self, TensorError> {
        let expected = shape.element_count()?;
        let found = data.len();
        if expected == found {
            Ok(Self { shape, data })
        } else {
            Err(TensorError::CountMismatch { shape, expected, found })
        }
    }

    /// A tensor of `rows` rows: this one's from the first on, and again from the first where there are not enough. Rows
    /// are the outermost dimension.
    ///
    /// # Errors
    /// [`TensorError::CountMismatch`] for a tensor without rows, [`TensorError::TooManyElements`] when the rows are
    /// more than can be addressed.
    pub fn with_rows(&self, rows: usize) -> Result<Self, TensorError> {
        let mut shape = Shape::default();
        shape.try_push(rows)?;
        self.shape.dimensions().iter().skip(1).try_for_each(|&size| shape.try_push(size))?;
        Self::try_new(shape, self.data.cycled(shape.element_count()?))
    }

    /// The dimensions.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The values, row-major.
    #[must_use]
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// The datatype of the values.
    #[must_use]
    pub fn datatype(&self) -> DataType {
        self.data.datatype()
    }

    /// Bytes of memory that it takes, itself included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.data.bytes()
    }

    /// The values, given up by the tensor.
    #[must_use]
    pub fn into_data(self) -> TensorData {
        self.data
    }
}
