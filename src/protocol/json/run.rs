//! Runs of plain numbers in a list.
//!
//! Read one after the other, a number's end has to be found before the next one's start is known, and lengths vary, so
//! that a branch on them mispredicts. Here commas are found first, in blocks of 64 bytes at a time and without a look at
//! what is between them; then the numbers are independent of each other and the processor works on several at once.
//! Whatever is not plain (a fault, `null`, an exponent, the last value of a list) is left to the scanner, which also
//! words the error.
//!
//! Invariant: the values, the errors and their offsets are those of reading one value after the other.

use super::lanes::{BLOCK, FromPlain, LANES, Lane, NOT_PLAIN, REACH, WHOLE, Window, convert, lane};
use super::{ScanResult, Scanner};

/// A run is converted when it has this many numbers; enough that the last, partial row of lanes hardly matters.
const ENOUGH: usize = 32;

/// A block ends at most every other byte.
const CAPACITY: usize = ENOUGH + BLOCK / 2;

/// Numbers that follow each other, before their conversion.
struct Run {
    words: [u64; CAPACITY],
    long: [u64; CAPACITY],
    scales: [u8; CAPACITY],
    count: usize,
}

impl Scanner<'_> {
    /// Reads values up to the end of the list whose first value is next, but at most until there are `limit`; whether
    /// the list ended. `read` reads a value of any form.
    #[inline(always)]
    pub(crate) fn numbers<T: FromPlain>(
        &mut self,
        values: &mut Vec<T>,
        limit: usize,
        mut read: impl FnMut(&mut Self) -> ScanResult<T>,
    ) -> ScanResult<bool> {
        let mut run = Run { words: [0; CAPACITY], long: [0; CAPACITY], scales: [WHOLE; CAPACITY], count: 0 };
        while values.len() < limit {
            let before = values.len();
            let start = self.at;
            run.fill(self, T::MAX_MANTISSA, limit - before);
            let is_converted = run.append_to(values);
            if !is_converted {
                self.at = behind_values(self.bytes, start, values.len() - before);
            }
            // What was not plain rarely comes alone if nothing was before it.
            let others = match (is_converted, run.count) {
                (true, ENOUGH..) => 0,
                (true, 1..) => 1,
                _ => LANES,
            };
            for _ in 0..others.min(limit - values.len()) {
                values.push(read(self)?);
                if !self.another(b']')? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Run {
    /// Takes plain numbers from where the scanner stands, `room` at most, and moves it behind the last one's comma.
    #[inline(always)]
    fn fill(&mut self, scanner: &mut Scanner<'_>, max_mantissa: u64, room: usize) {
        let mut count = 0;
        while count < ENOUGH.min(room) {
            let Some((window, base)) = window(scanner.bytes, scanner.at) else { break };
            let mut start = scanner.at - base;
            let mut ends = commas(window) & u64::MAX.checked_shl(start as u32).unwrap_or(0);
            if room - count < BLOCK / 2 && ends.count_ones() as usize > room - count {
                ends = lowest_bits(ends, room - count);
            }
            if ends == 0 {
                break;
            }
            while ends != 0 {
                let end = ends.trailing_zeros() as usize % BLOCK;
                let Lane { word, mantissa, scale } = lane(window, start, end, max_mantissa);
                if scale == NOT_PLAIN {
                    break;
                }
                let place = count % CAPACITY;
                (self.words[place], self.long[place], self.scales[place]) = (word, mantissa, scale);
                count += 1;
                start = end + 1;
                ends &= ends - 1;
            }
            scanner.at = base + start;
            if ends != 0 {
                break;
            }
        }
        self.count = count;
    }

    /// Converts the numbers and appends them up to a row of lanes that has one which is none after all; whether all were
    /// appended.
    #[inline(always)]
    fn append_to<T: FromPlain>(&self, values: &mut Vec<T>) -> bool {
        let mut rest = self.count;
        let rows = self.words.as_chunks().0.iter().zip(self.long.as_chunks().0).zip(self.scales.as_chunks().0);
        for ((words, long), scales) in rows {
            if rest == 0 {
                break;
            }
            // Lanes behind the last number hold one of an earlier run: if that is at fault, it costs time and no more.
            let Some(row) = convert(words, long, scales) else { return false };
            let taken = rest.min(LANES);
            values.extend_from_slice(&row[..taken]);
            rest -= taken;
        }
        true
    }
}

/// The block that `at` is in, with what is before it, and the offset of the block.
#[inline(always)]
fn window(bytes: &[u8], at: usize) -> Option<(&Window, usize)> {
    // The last block of a text is a whole one too.
    let base = at.min(bytes.len().checked_sub(BLOCK)?);
    Some((bytes.get(base.checked_sub(REACH)?..)?.first_chunk()?, base))
}

/// A bit for each comma of a window's block.
#[inline(always)]
fn commas(window: &Window) -> u64 {
    /// The bit of a byte's word among the eight words.
    const PLACES: [u8; BLOCK] = {
        let mut places = [0; BLOCK];
        let mut index = 0;
        while index < BLOCK {
            places[index] = 1 << (index / 8);
            index += 1;
        }
        places
    };
    let mut found = [0; BLOCK];
    for index in 0..BLOCK {
        found[index] = if window[REACH + index] == b',' { PLACES[index] } else { 0 };
    }
    // Bit i of byte j stands for byte j of word i; the matrix of bits is transposed (Warren, "Hacker's Delight", 7-3).
    let mut bits = found.as_chunks().0.iter().fold(0, |bits, word| bits | u64::from_le_bytes(*word));
    for (distance, half) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0xf0f0_f0f0)] {
        let exchanged = (bits ^ (bits >> distance)) & half;
        bits ^= exchanged ^ (exchanged << distance);
    }
    bits
}

/// The lowest `count` of the bits that are set.
#[cold]
fn lowest_bits(bits: u64, count: usize) -> u64 {
    let mut others = bits;
    for _ in 0..count {
        others &= others.wrapping_sub(1);
    }
    bits ^ others
}

/// The offset behind `count` values, each of which has a comma behind and none within.
#[cold]
fn behind_values(bytes: &[u8], mut at: usize, count: usize) -> usize {
    for _ in 0..count {
        at += bytes[at..].iter().take_while(|&&byte| byte != b',').count() + 1;
    }
    at
}
