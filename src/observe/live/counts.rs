//! One column's counters, in memory and as text.
//!
//! Invariant: text that is read gives counters whose text is read as the same; it never takes more memory than eight
//! times its length.

use super::SUMS;
use crate::observe::codec::{Malformed, Reader, Writer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The counters of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ColumnCounts {
    /// One counter per slot.
    pub counts: Vec<u64>,
    /// Wrapping fixed-point sums; zeros where the column has none.
    pub sums: [i64; SUMS],
}

impl ColumnCounts {
    /// So many counters at zero.
    pub(super) fn zero(counters: usize) -> Self {
        Self { counts: vec![0; counters], sums: [0; SUMS] }
    }

    /// Adds the counters of as many others.
    pub(super) fn add(&mut self, other: &Self) {
        for (total, count) in self.counts.iter_mut().zip(&other.counts) {
            *total = total.saturating_add(*count);
        }
        for (total, sum) in self.sums.iter_mut().zip(other.sums) {
            *total = total.wrapping_add(sum);
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.number(self.counts.len() as u64);
        let mut before = 0_u64;
        for &count in &self.counts {
            writer.signed(count.wrapping_sub(before).cast_signed());
            before = count;
        }
        if self.sums != [0; SUMS] {
            self.sums.iter().for_each(|&sum| writer.signed(sum));
        }
        writer.finish()
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let counters = usize::try_from(reader.number()?).map_err(|_too_many| Malformed)?;
        // Every counter is a byte at least.
        if counters > bytes.len() {
            return Err(Malformed);
        }
        let (mut counts, mut before) = (Vec::with_capacity(counters), 0_u64);
        for _ in 0..counters {
            before = before.wrapping_add(reader.signed()?.cast_unsigned());
            counts.push(before);
        }
        let mut sums = [0; SUMS];
        if !reader.is_empty() {
            for sum in &mut sums {
                *sum = reader.signed()?;
            }
        }
        if reader.is_empty() { Ok(Self { counts, sums }) } else { Err(Malformed) }
    }
}

impl From<ColumnCounts> for String {
    fn from(counts: ColumnCounts) -> Self {
        STANDARD.encode(counts.write())
    }
}

impl TryFrom<String> for ColumnCounts {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = STANDARD.decode(text).map_err(|error| format!("counters that are no Base64: {error}"))?;
        Self::read(&bytes).map_err(|error| format!("counters that cannot be read: {error}"))
    }
}

/// A version's number as text, as everywhere in the API.
pub(super) mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
        number.ok_or_else(|| D::Error::custom("a version that is no whole number"))
    }
}

/// A fingerprint as sixteen digits.
pub(super) mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:016x}"))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u64::from_str_radix(&text, 16).ok().filter(|number| format!("{number:016x}") == text);
        number.ok_or_else(|| D::Error::custom("a fingerprint that is not sixteen hexadecimal digits"))
    }
}

/// A side by name.
pub(super) mod side {
    use crate::observe::Side;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(side: &Side, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match side {
            Side::Input => "input",
            Side::Output => "output",
        })
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Side, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "input" => Ok(Side::Input),
            "output" => Ok(Side::Output),
            _ => Err(D::Error::custom("a side that is neither input nor output")),
        }
    }
}
