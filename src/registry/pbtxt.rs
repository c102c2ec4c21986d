//! Protobuf text format into a tree.
//!
//! The format of Triton's `config.pbtxt`, read without its schema: which fields there are and what they mean is for the
//! caller to say, so a key that is not known here is kept and can be named. Written by hand because it is small, and
//! because a schema compiler would refuse every file with a field newer than its schema. The grammar is that of
//! <https://protobuf.dev/reference/protobuf/textformat-spec/> without extension and `Any` names (`[a.b]` as a key), which
//! Triton's schema does not have.
//!
//! Invariant: any bytes give a tree or a [`Problem`] with its line; depth and size are bounded before anything is kept.

mod scalar;
#[cfg(test)]
mod tests;

use std::str::FromStr;

/// The largest text that is read, bytes. Configurations of large ensembles stay below 100 KiB.
pub const SIZE_LIMIT: usize = 256 << 10;
/// How deep messages may nest. Triton's schema nests five deep.
pub const DEPTH_LIMIT: usize = 32;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Problem {
    /// The line, counted from one.
    pub line: usize,
    /// What was expected and what came.
    pub problem: String,
}

/// The fields of a message in their order; a repeated field comes several times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The fields.
    pub fields: Vec<Field>,
}

/// One `name: value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The field's name.
    pub name: String,
    /// Where it stands, counted from one.
    pub line: usize,
    /// Its value.
    pub value: Value,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string, or adjacent ones as one.
    Text(String),
    /// A whole number from -2^64 + 1 to 2^64 - 1.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// An identifier: a value of an enum, `true` or `false`.
    Name(String),
    /// A message.
    Message(Message),
    /// Several values of a repeated field at once; no list holds a list.
    List(Vec<Value>),
}

/// Where in the text the parser stands.
struct Parser<'a> {
    text: &'a str,
    /// The next byte; always on a character's boundary between two calls.
    position: usize,
    line: usize,
}

/// Reads a whole text.
///
/// # Errors
/// The first [`Problem`].
pub fn parse(bytes: &[u8]) -> Result<Message, Problem> {
    if bytes.len() > SIZE_LIMIT {
        let problem = format!("the file has more than {SIZE_LIMIT} bytes");
        return Err(Problem { line: 1, problem });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Problem { line, problem: "expected UTF-8 text, found other bytes".to_owned() }
    })?;
    Parser { text, position: 0, line: 1 }.fields(None, 0)
}

impl FromStr for Message {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        parse(text.as_bytes())
    }
}

impl Message {
    /// The one field of that name, if it is there.
    ///
    /// # Errors
    /// A [`Problem`] when it is there twice.
    pub fn single(&self, name: &str) -> Result<Option<&Field>, Problem> {
        let mut found = self.fields.iter().filter(|field| field.name == name);
        let first = found.next();
        match found.next() {
            Some(second) => Err(second.problem(format!("{name} is given twice"))),
            None => Ok(first),
        }
    }
}

impl Field {
    /// A problem with this field.
    #[must_use]
    pub fn problem(&self, problem: String) -> Problem {
        Problem { line: self.line, problem }
    }

    /// Its values: the elements of a list, else the one it has.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        match &self.value {
            Value::List(values) => values,
            value => std::slice::from_ref(value),
        }
    }
}

impl Parser<'_> {
    /// Fields up to `close`, or to the end of the text; what closes them is taken as well.
    fn fields(&mut self, close: Option<u8>, depth: usize) -> Result<Message, Problem> {
        if depth > DEPTH_LIMIT {
            return Err(self.problem(format!("messages nest more than {DEPTH_LIMIT} deep")));
        }
        let opened = self.line;
        let mut message = Message::default();
        loop {
            self.skip_space();
            match (self.peek(), close) {
                (None, None) => return Ok(message),
                (None, Some(close)) => {
                    let close = char::from(close);
                    return Err(self.problem(format!("the text ends before the '{close}' of line {opened}'s message")));
                }
                (found, _) if found == close => {
                    self.position += 1;
                    return Ok(message);
                }
                _ => message.fields.push(self.field(depth)?),
            }
        }
    }

    fn field(&mut self, depth: usize) -> Result<Field, Problem> {
        let line = self.line;
        let name = self.identifier("the name of a field")?;
        self.skip_space();
        let has_colon = self.take(b':');
        self.skip_space();
        let value = match self.peek() {
            Some(b'[') => self.list(has_colon, depth)?,
            _ => self.value(has_colon, depth)?,
        };
        self.skip_space();
        if !self.take(b',') {
            self.take(b';');
        }
        Ok(Field { name, line, value })
    }

    fn list(&mut self, has_colon: bool, depth: usize) -> Result<Value, Problem> {
        let mut values = Vec::new();
        self.take(b'[');
        self.skip_space();
        if self.take(b']') {
            return Ok(Value::List(values));
        }
        loop {
            self.skip_space();
            values.push(self.value(has_colon, depth)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Value::List(values));
            }
            if !self.take(b',') {
                return Err(self.expected("',' or ']' in a list"));
            }
        }
    }

    /// One value that is no list. Only a message may follow its field's name without a colon.
    fn value(&mut self, has_colon: bool, depth: usize) -> Result<Value, Problem> {
        let close = match self.peek() {
            Some(b'{') => b'}',
            Some(b'<') => b'>',
            _ if has_colon => return self.scalar(),
            _ => return Err(self.expected("':' or a message after the name of a field")),
        };
        self.position += 1;
        self.fields(Some(close), depth + 1).map(Value::Message)
    }

    fn identifier(&mut self, what: &str) -> Result<String, Problem> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_') {
            return Err(self.expected(what));
        }
        Ok(self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_').to_owned())
    }

    /// White space and comments.
    fn skip_space(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => {}
                b'#' => {
                    self.take_while(|byte| byte != b'\n');
                    continue;
                }
                _ => return,
            }
            self.position += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.position += usize::from(found);
        found
    }

    /// The longest run of bytes that `belongs` holds for; it must hold for all or no bytes of a character.
    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &str {
        let rest = &self.text[self.position..];
        let length = rest.bytes().position(|byte| !belongs(byte)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    fn expected(&self, what: &str) -> Problem {
        let found = match self.text[self.position..].chars().next() {
            Some(character) => format!("{character:?}"),
            None => "the end of the text".to_owned(),
        };
        self.problem(format!("expected {what}, found {found}"))
    }

    fn problem(&self, problem: String) -> Problem {
        Problem { line: self.line, problem }
    }
}
