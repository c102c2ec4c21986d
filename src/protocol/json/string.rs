//! Strings: the closing quote, UTF-8, escapes.
//!
//! A string without escapes, which is nearly every one, is borrowed from the body; one with escapes is written into
//! the caller's scratch buffer, which serves a whole list. UTF-8 is checked per string and not for the body, whose
//! bytes outside strings the grammar restricts to ASCII anyway.
//!
//! Invariant: a string that is returned is the text that RFC 8259 says, and valid UTF-8.

use super::{JsonError, ScanResult, Scanner};

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

impl<'a> Scanner<'a> {
    /// Reads a string, borrowed from the body or, when it has escapes, from `scratch`.
    pub(crate) fn string<'s>(&mut self, scratch: &'s mut String, expected: &'static str) -> ScanResult<&'s str>
    where
        'a: 's,
    {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected(expected));
        }
        self.at += 1;
        let start = self.at;
        let has_escapes = self.find_closing_quote()?;
        let raw = std::str::from_utf8(&self.bytes[start..self.at])
            .map_err(|error| Box::new(JsonError::NotUtf8 { offset: start + error.valid_up_to() }))?;
        self.at += 1;
        if has_escapes { unescape(raw, start, scratch) } else { Ok(raw) }
    }

    /// Moves to the closing quote; whether there are escapes before it.
    fn find_closing_quote(&mut self) -> ScanResult<bool> {
        let mut has_escapes = false;
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => return Ok(has_escapes),
                Some(b'\\') => {
                    has_escapes = true;
                    // The byte behind the backslash may be a quote; whether it is an escape is checked later.
                    self.at = self.bytes.len().min(self.at + 2);
                }
                Some(_) => return Err(self.unexpected("a control character to be escaped in the string")),
                None => return Err(self.unexpected("the closing quote of the string")),
            }
        }
    }
}

/// How many bytes come before the first that cannot stand for itself in a string: a quote, a backslash or a control
/// character.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        // Each term sets the top bit of the bytes it looks for; a borrow can only add bits behind the first of them.
        let quotes = word ^ (ONES * u64::from(b'"'));
        let backslashes = word ^ (ONES * u64::from(b'\\'));
        let special = (quotes.wrapping_sub(ONES) & !quotes)
            | (backslashes.wrapping_sub(ONES) & !backslashes)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if special & TOPS != 0 {
            return at + (special & TOPS).trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

/// Writes `raw`, which begins at byte `start` of the body, into `scratch` with its escapes resolved.
fn unescape<'s>(raw: &str, start: usize, scratch: &'s mut String) -> ScanResult<&'s str> {
    scratch.clear();
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        scratch.push_str(&rest[..at]);
        let escape = &rest[at..];
        let offset = start + raw.len() - escape.len();
        let (character, length) = resolve(escape, offset)?;
        scratch.push(character);
        rest = &escape[length..];
    }
    scratch.push_str(rest);
    Ok(scratch)
}

/// The character that the escape at the beginning of `text` stands for, and the escape's length in bytes.
fn resolve(text: &str, offset: usize) -> ScanResult<(char, usize)> {
    let simple = match text.as_bytes().get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return resolve_unicode(text, offset),
        _ => return Err(not_an_escape(text, offset)),
    };
    Ok((simple, 2))
}

/// `\uXXXX`, or two of them that are a surrogate pair.
fn resolve_unicode(text: &str, offset: usize) -> ScanResult<(char, usize)> {
    let first = code_unit(text).ok_or_else(|| not_an_escape(text, offset))?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 6));
    }
    let second = text.get(6..).and_then(code_unit);
    match (first, second) {
        (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
            let scalar = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(scalar).map(|character| (character, 12))
        }
        _ => None,
    }
    .ok_or_else(|| Box::new(JsonError::LoneSurrogate { offset }))
}

fn code_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // `from_str_radix` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

fn not_an_escape(text: &str, offset: usize) -> Box<JsonError> {
    let found = text.chars().take(6).collect();
    Box::new(JsonError::Unexpected { offset, expected: "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX", found })
}
