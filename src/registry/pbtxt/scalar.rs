//! Strings, numbers and names of the text format.
//!
//! Apart from the tree because this is where the format is fussy: four kinds of escapes, three bases, a sign that may
//! stand apart from its number.
//!
//! Invariant: a string may not run over the end of its line, so a missing quote is reported where it is missing.

use super::{Parser, Problem, Value};

/// Longest piece of the text that a problem repeats, in characters.
const SHOWN: usize = 40;

impl Parser<'_> {
    pub(super) fn scalar(&mut self) -> Result<Value, Problem> {
        match self.peek() {
            Some(b'"' | b'\'') => self.strings(),
            Some(b'-') => {
                self.position += 1;
                self.skip_space();
                self.number(true)
            }
            Some(b'0'..=b'9' | b'.') => self.number(false),
            _ => {
                let name = self.identifier("a value")?;
                Ok(unsigned_float_name(&name).map_or(Value::Name(name), Value::Float))
            }
        }
    }

    /// Adjacent strings, as one.
    fn strings(&mut self) -> Result<Value, Problem> {
        let first_line = self.line;
        let mut bytes = Vec::new();
        while let Some(quote @ (b'"' | b'\'')) = self.peek() {
            self.position += 1;
            self.string(quote, &mut bytes)?;
            self.skip_space();
        }
        let text = String::from_utf8(bytes).map_err(|_bytes| Problem {
            line: first_line,
            problem: "the escapes of a string do not make UTF-8 text".to_owned(),
        })?;
        Ok(Value::Text(text))
    }

    /// The rest of a string up to its quote, which is taken as well.
    fn string(&mut self, quote: u8, into: &mut Vec<u8>) -> Result<(), Problem> {
        loop {
            let plain = self.take_while(|byte| byte != quote && byte != b'\\' && byte != b'\n');
            into.extend_from_slice(plain.as_bytes());
            match self.peek() {
                Some(b'\\') => {
                    self.position += 1;
                    self.escape(into)?;
                }
                Some(byte) if byte == quote => {
                    self.position += 1;
                    return Ok(());
                }
                _ => return Err(self.problem("a string has no closing quote on its line".to_owned())),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, into: &mut Vec<u8>) -> Result<(), Problem> {
        let Some(kind) = self.peek() else { return Err(self.expected("an escape")) };
        let plain = match kind {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'?' | b'\\' | b'\'' | b'"' => kind,
            b'0'..=b'7' => {
                let code = self.digits(8, 1..=3)?;
                into.push(u8::try_from(code).map_err(|_large| self.bad_escape())?);
                return Ok(());
            }
            b'x' | b'X' => {
                self.position += 1;
                let code = self.digits(16, 1..=2)?;
                into.push(u8::try_from(code).map_err(|_large| self.bad_escape())?);
                return Ok(());
            }
            b'u' | b'U' => {
                self.position += 1;
                let count = if kind == b'u' { 4 } else { 8 };
                let code = self.digits(16, count..=count)?;
                let character = char::from_u32(code).ok_or_else(|| self.bad_escape())?;
                into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.expected("an escape")),
        };
        self.position += 1;
        into.push(plain);
        Ok(())
    }

    /// A number of as many digits as there are, in the limits of `count`.
    fn digits(&mut self, base: u32, count: std::ops::RangeInclusive<usize>) -> Result<u32, Problem> {
        let rest = &self.text.as_bytes()[self.position..];
        let found = rest.iter().take(*count.end()).take_while(|byte| char::from(**byte).is_digit(base)).count();
        if found < *count.start() {
            return Err(self.bad_escape());
        }
        let digits = &self.text[self.position..self.position + found];
        let code = u32::from_str_radix(digits, base).map_err(|_large| self.bad_escape())?;
        self.position += found;
        Ok(code)
    }

    fn bad_escape(&self) -> Problem {
        self.problem("an escape is no byte and no character".to_owned())
    }

    /// A number; its sign has been taken.
    fn number(&mut self, negative: bool) -> Result<Value, Problem> {
        let token = self.number_token().to_owned();
        let value = unsigned_float_name(&token).map(Value::Float).or_else(|| unsigned(&token));
        match value {
            Some(Value::Integer(value)) if negative => Ok(Value::Integer(-value)),
            Some(Value::Float(value)) if negative => Ok(Value::Float(-value)),
            Some(value) => Ok(value),
            None => {
                let shown: String = token.chars().take(SHOWN).collect();
                Err(self.problem(format!("expected a number, found {shown:?}")))
            }
        }
    }

    /// Everything that could belong to a number, so that `12ab` is one wrong number and not a number and a name.
    fn number_token(&mut self) -> &str {
        let bytes = &self.text.as_bytes()[self.position..];
        let is_hexadecimal = bytes.starts_with(b"0x") || bytes.starts_with(b"0X");
        let mut length = 0;
        while let Some(&byte) = bytes.get(length) {
            let follows_exponent = length > 0 && matches!(bytes[length - 1], b'e' | b'E') && !is_hexadecimal;
            let is_sign = matches!(byte, b'+' | b'-') && follows_exponent;
            if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || is_sign) {
                break;
            }
            length += 1;
        }
        let token = &self.text[self.position..self.position + length];
        self.position += length;
        token
    }
}

/// The numbers that are written as words, in any case.
fn unsigned_float_name(word: &str) -> Option<f64> {
    match word.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ => None,
    }
}

fn unsigned(token: &str) -> Option<Value> {
    let all = |base: u32, digits: &str| !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    let integer = |base: u32, digits: &str| u64::from_str_radix(digits, base).ok().map(i128::from).map(Value::Integer);
    if let Some(digits) = token.strip_prefix("0x").or_else(|| token.strip_prefix("0X")) {
        return if all(16, digits) { integer(16, digits) } else { None };
    }
    if all(10, token) {
        let is_octal = token.len() > 1 && token.starts_with('0');
        return match is_octal {
            true if all(8, token) => integer(8, token),
            true => None,
            // Past 64 bits the format takes it for a float.
            false => integer(10, token).or_else(|| token.parse().ok().map(Value::Float)),
        };
    }
    let digits = token.strip_suffix(['f', 'F']).unwrap_or(token);
    let is_decimal = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    if is_decimal { digits.parse().ok().map(Value::Float) } else { None }
}
