//! A strict pull scanner over JSON bytes (RFC 8259).
//!
//! The caller asks for the value it expects and hands closures for members and elements, so that brackets, commas,
//! colons and the depth limit are handled in one place. A cloned scanner is a bookmark: a value that cannot be read
//! yet is skipped now, which checks its grammar, and read later.
//!
//! Invariant: after a successful call the scanner stands behind exactly one complete value.

use super::JsonError;
use crate::protocol::limits::{MAX_DEPTH, quoted};

/// What scanning gives. The error is boxed so that a success fits into registers.
pub(crate) type ScanResult<T> = Result<T, Box<JsonError>>;

/// Tokens that some writers emit for numbers JSON does not have.
const NON_FINITE_TOKENS: [&str; 8] = ["NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf", "-nan", "-inf"];

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    /// Stands before the first byte of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// Bytes from the start of the text.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Bytes up to the end of the text.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Skips whitespace and looks at the next byte.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Reads the bracket that opens a list or an object.
    pub(crate) fn open(&mut self, bracket: u8, expected: &'static str) -> ScanResult<()> {
        if self.peek() != Some(bracket) {
            return Err(self.unexpected(expected));
        }
        if self.depth == MAX_DEPTH {
            return Err(Box::new(JsonError::TooDeep { offset: self.at }));
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    /// Reads the closing bracket if it is next: the list or object has no values.
    pub(crate) fn close(&mut self, bracket: u8) -> bool {
        let is_next = self.peek() == Some(bracket);
        if is_next {
            self.at += 1;
            self.depth -= 1;
        }
        is_next
    }

    /// Behind a value: reads a comma (`true`, another value follows) or the closing bracket (`false`).
    #[inline(always)]
    pub(crate) fn another(&mut self, bracket: u8) -> ScanResult<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(found) if found == bracket => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => Err(self.unexpected(if bracket == b']' { "',' or ']'" } else { "',' or '}'" })),
        }
    }

    /// Reads an object; `member` must read the value of each key.
    pub(crate) fn object<E, F>(&mut self, mut member: F) -> Result<(), E>
    where
        E: From<Box<JsonError>>,
        F: FnMut(&mut Self, &str) -> Result<(), E>,
    {
        self.open(b'{', "an object")?;
        if self.close(b'}') {
            return Ok(());
        }
        let mut scratch = String::new();
        loop {
            let key = self.string(&mut scratch, "a key in double quotes")?;
            if self.peek() != Some(b':') {
                return Err(self.unexpected("':'").into());
            }
            self.at += 1;
            member(self, key)?;
            if !self.another(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads a list; `element` must read each value.
    pub(crate) fn list<E, F>(&mut self, expected: &'static str, mut element: F) -> Result<(), E>
    where
        E: From<Box<JsonError>>,
        F: FnMut(&mut Self) -> Result<(), E>,
    {
        self.open(b'[', expected)?;
        if self.close(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.another(b']')? {
                return Ok(());
            }
        }
    }

    /// Reads `true` or `false`.
    #[inline]
    pub(crate) fn boolean(&mut self) -> ScanResult<bool> {
        if self.literal("true") {
            Ok(true)
        } else if self.literal("false") {
            Ok(false)
        } else {
            Err(self.unexpected("true or false"))
        }
    }

    /// Reads `null` if it is next.
    pub(crate) fn null(&mut self) -> bool {
        self.literal("null")
    }

    /// Reads any value and forgets it; its grammar is checked in full.
    pub(crate) fn skip_value(&mut self) -> ScanResult<()> {
        match self.peek() {
            Some(b'{') => self.object(|scanner, _| scanner.skip_value()),
            Some(b'[') => self.list("a list", Self::skip_value),
            Some(b'"') => self.string(&mut String::new(), "a string").map(drop),
            Some(b'-' | b'0'..=b'9') => self.number("a number").map(drop),
            Some(b't' | b'f') => self.boolean().map(drop),
            Some(b'n') if self.null() => Ok(()),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Behind the whole text: nothing but whitespace may follow.
    pub(crate) fn finish(&mut self) -> ScanResult<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end of the text")),
        }
    }

    /// The error for what stands here instead of `expected`.
    #[cold]
    pub(crate) fn unexpected(&self, expected: &'static str) -> Box<JsonError> {
        let rest = &self.bytes[self.at..];
        let token = NON_FINITE_TOKENS.into_iter().find(|token| rest.starts_with(token.as_bytes()));
        Box::new(match token {
            Some(token) => JsonError::NonFinite { offset: self.at, token },
            None => JsonError::Unexpected { offset: self.at, expected, found: describe(rest) },
        })
    }

    #[inline]
    fn literal(&mut self, word: &'static str) -> bool {
        self.peek();
        let is_next = self.bytes[self.at..].starts_with(word.as_bytes());
        if is_next {
            self.at += word.len();
        }
        is_next
    }
}

/// What begins `rest`, in words.
fn describe(rest: &[u8]) -> String {
    let Some(&first) = rest.first() else { return "the end of the text".to_owned() };
    if let Some(word) = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word.as_bytes())) {
        return word.to_owned();
    }
    match first {
        b'"' => "a string".to_owned(),
        b'[' => "a list".to_owned(),
        b'{' => "an object".to_owned(),
        b'-' | b'0'..=b'9' => {
            let end = rest.iter().position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
            quoted(&String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len())]))
        }
        0x21..=0x7e => format!("'{}'", char::from(first)),
        _ => format!("byte 0x{first:02x}"),
    }
}
