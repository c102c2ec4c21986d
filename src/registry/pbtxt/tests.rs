//! Texts that are read, refused with their line, and arbitrary bytes that do not panic.

use super::*;
use proptest::prelude::*;
use std::fmt::Write;

fn only(text: &str) -> Value {
    let message: Message = text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"));
    assert_eq!(message.fields.len(), 1, "{text}");
    message.fields[0].value.clone()
}

fn refused(text: &str) -> String {
    text.parse::<Message>().unwrap_err().to_string()
}

#[test]
fn nothing_and_comments_are_an_empty_message() {
    for text in ["", " \t\r\n", "# no line end", "# one\n# two\n\n"] {
        assert_eq!(text.parse::<Message>().unwrap(), Message::default(), "{text:?}");
    }
}

#[test]
fn a_configuration_of_every_form_is_read_with_lines() {
    let text = "name: 'm' # comment: {\nmax_batch_size: 8;\ninput [ { name: \"x\", dims: [ -1, 30 ] } ]\n\
                version_policy: { all < > },\ndynamic_batching { }\nparameters { key: \"k\" value: { string_value: \"v\" } }";
    let message: Message = text.parse().unwrap();
    let names: Vec<(&str, usize)> = message.fields.iter().map(|field| (field.name.as_str(), field.line)).collect();
    let expected = ["name", "max_batch_size", "input", "version_policy", "dynamic_batching", "parameters"];
    assert_eq!(names, expected.into_iter().zip(1..).collect::<Vec<_>>());
    let Value::Message(policy) = &message.fields[3].value else { panic!("no message") };
    assert_eq!(policy.single("all").unwrap().unwrap().value, Value::Message(Message::default()));
    let [Value::Message(input)] = message.fields[2].values() else { panic!("no list of one message") };
    assert_eq!(input.fields[1].value, Value::List(vec![Value::Integer(-1), Value::Integer(30)]));
}

#[test]
fn adjacent_strings_are_one_and_escapes_are_bytes() {
    assert_eq!(only("a: \"x\" 'y'\n # between\n \"z\""), Value::Text("xyz".into()));
    assert_eq!(only(r#"a: "\a\b\f\n\r\t\v\?\\\'\"""#), Value::Text("\x07\x08\x0c\n\r\t\x0b?\\'\"".into()));
    assert_eq!(only(r#"a: "\101\x42\u0043\U0001F600\303\251""#), Value::Text("ABC😀é".into()));
    assert_eq!(only("a: 'don\"t'"), Value::Text("don\"t".into()));
}

#[test]
fn numbers_come_in_three_bases_and_as_words() {
    for (text, expected) in [
        ("0", 0),
        ("- 7", -7),
        ("010", 8),
        ("0x1F", 31),
        ("18446744073709551615", u64::MAX.into()),
        ("-18446744073709551615", -i128::from(u64::MAX)),
    ] {
        assert_eq!(only(&format!("a: {text}")), Value::Integer(expected), "{text}");
    }
    for (text, expected) in [
        ("1.5", 1.5),
        (".5f", 0.5),
        ("-2e-3", -0.002),
        ("1e+2F", 100.0),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ("-Infinity", f64::NEG_INFINITY),
        ("inf", f64::INFINITY),
    ] {
        assert_eq!(only(&format!("a: {text}")), Value::Float(expected), "{text}");
    }
    assert!(matches!(only("a: nan"), Value::Float(value) if value.is_nan()));
    for text in ["08", "0x", "0xg", "1a", "1.2.3", "-", "-x", "1_0", "0x1ffffffffffffffff"] {
        assert!(refused(&format!("a: {text}")).starts_with("line 1: expected a number"), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, expected) in [
        ("a: 1\n\nb", "line 3: expected ':' or a message after the name of a field, found the end of the text"),
        ("a:\n\n", "line 3: expected a value, found the end of the text"),
        ("a {\n b: 1\n", "line 3: the text ends before the '}' of line 1's message"),
        ("a < b: 1 }", "line 1: expected the name of a field, found '}'"),
        ("a: 1 }", "line 1: expected the name of a field, found '}'"),
        ("a [1]", "line 1: expected ':' or a message after the name of a field, found '1'"),
        ("a: [1\n 2]", "line 2: expected ',' or ']' in a list, found '2'"),
        ("a: [1,]", "line 1: expected a value, found ']'"),
        ("a: [[1]]", "line 1: expected a value, found '['"),
        ("a: 'x\n'", "line 1: a string has no closing quote on its line"),
        ("\na: '\\q'", "line 2: expected an escape, found 'q'"),
        ("a: '\\x'", "line 1: an escape is no byte and no character"),
        ("a: '\\777'", "line 1: an escape is no byte and no character"),
        ("a: '\\ud800'", "line 1: an escape is no byte and no character"),
        ("a: '\\377'", "line 1: the escapes of a string do not make UTF-8 text"),
        ("[a.b]: 1", "line 1: expected the name of a field, found '['"),
        ("a: é", "line 1: expected a value, found 'é'"),
    ] {
        assert_eq!(refused(text), expected, "{text:?}");
    }
    assert_eq!(parse(b"a: 1\n\xff").unwrap_err().line, 2);
}

#[test]
fn depth_and_size_are_limited() {
    let nested = |depth: usize| format!("{}{}", "a{".repeat(depth), "}".repeat(depth));
    assert!(nested(DEPTH_LIMIT).parse::<Message>().is_ok());
    assert_eq!(refused(&nested(DEPTH_LIMIT + 1)), "line 1: messages nest more than 32 deep");
    assert!(parse(&vec![b' '; SIZE_LIMIT]).is_ok());
    assert!(parse(&vec![b' '; SIZE_LIMIT + 1]).is_err());
}

#[test]
fn a_field_that_may_come_once_is_refused_when_it_comes_twice() {
    let message: Message = "a: 1\nb: 2\na: 3".parse().unwrap();
    assert_eq!(message.single("a").unwrap_err().to_string(), "line 3: a is given twice");
    assert_eq!(message.single("b").unwrap().unwrap().line, 2);
    assert_eq!(message.single("c"), Ok(None));
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Text(text) => {
            // One string per character, each by its code: concatenation and escapes at once.
            out.push_str("''");
            text.chars().for_each(|character| write!(out, " '\\U{:08x}'", u32::from(character)).unwrap());
        }
        Value::Integer(value) => write!(out, "{value}").unwrap(),
        Value::Float(value) => write!(out, "{value:e}").unwrap(),
        Value::Name(name) => out.push_str(name),
        Value::Message(message) => {
            out.push('{');
            message.fields.iter().for_each(|field| write_field(out, field));
            out.push('}');
        }
        Value::List(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_value(out, value);
            }
            out.push(']');
        }
    }
}

fn write_field(out: &mut String, field: &Field) {
    write!(out, "{}:", field.name).unwrap();
    write_value(out, &field.value);
    out.push(' ');
}

fn any_message() -> impl Strategy<Value = Message> {
    let integer = any::<i64>().prop_map(|value| Value::Integer(value.into()));
    // `{:e}` of a float without a fraction has an exponent, so it never reads as an integer.
    let float = any::<f32>().prop_filter("finite", |value| value.is_finite());
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::Text),
        integer,
        float.prop_map(|value| Value::Float(value.into())),
        "K[A-Z_]{0,5}".prop_map(Value::Name),
    ];
    let value = leaf.prop_recursive(4, 40, 5, |inner| {
        let is_no_list = |value: &Value| !matches!(value, Value::List(_));
        let element = inner.clone().prop_filter("no list in a list", is_no_list);
        prop_oneof![
            prop::collection::vec(element, 0..4).prop_map(Value::List),
            fields_of(inner).prop_map(Value::Message),
        ]
    });
    fields_of(value)
}

fn fields_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Message> {
    let field = ("[a-z_][a-z0-9_]{0,6}", value).prop_map(|(name, value)| Field { name, line: 1, value });
    prop::collection::vec(field, 0..4).prop_map(|fields| Message { fields })
}

proptest! {
    #[test]
    fn any_bytes_give_a_tree_or_a_problem_within_the_text(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        if let Err(problem) = parse(&bytes) {
            prop_assert!((1..=lines).contains(&problem.line));
        }
    }

    #[test]
    fn any_text_of_the_formats_own_characters_gives_a_tree_or_a_problem(
        text in r#"([a-c:{}<>\[\],;#'"\\ \n0-9xXuUe.é-]|a: |\{ |: '|\\x){0,60}"#
    ) {
        let lines = text.matches('\n').count() + 1;
        if let Err(problem) = text.parse::<Message>() {
            prop_assert!((1..=lines).contains(&problem.line));
        }
    }

    #[test]
    fn what_is_written_reads_back(message in any_message()) {
        let mut text = String::new();
        message.fields.iter().for_each(|field| write_field(&mut text, field));
        prop_assert_eq!(text.parse::<Message>().unwrap(), message);
    }
}
