//! Values as text that is safe to show: in a log, in JSON, as a label of a metric, on a page.
//!
//! Values of headers are chosen by clients and may hold anything but line breaks: quotes, bytes that are no UTF-8,
//! characters that turn the direction of writing. What is not printable ASCII, and `%`, `"` and `\`, is therefore
//! written as in a URL, `%` and two hexadecimal digits.
//!
//! Invariant: different values have different texts, none of which is [`OTHER`].

/// The segment of all values that have none of their own.
pub const OTHER: &str = "other";

/// A value as text.
pub(super) fn shown(value: &[u8]) -> String {
    let mut is_taken = value == OTHER.as_bytes();
    let mut text = String::with_capacity(value.len());
    for &byte in value {
        let is_plain = matches!(byte, b' '..=b'~') && !matches!(byte, b'%' | b'"' | b'\\');
        // One letter in another form makes it another text.
        if is_plain && !std::mem::take(&mut is_taken) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn what_is_not_plain_is_written_as_in_a_url() {
        assert_eq!(shown(b"acme-1 (EU)"), "acme-1 (EU)");
        assert_eq!(shown(b"a\"} 1\nfake 2"), "a%22} 1%0Afake 2");
        assert_eq!(shown("münchen\u{202e}".as_bytes()), "m%C3%BCnchen%E2%80%AE");
        assert_eq!((shown(b"100%"), shown(b"\xff\\"), shown(b"")), ("100%25".into(), "%FF%5C".into(), String::new()));
    }

    #[test]
    fn nobody_can_pass_for_the_others() {
        assert_eq!(
            (shown(b"other"), shown(b"%6Fther"), shown(b"others")),
            ("%6Fther".into(), "%256Fther".into(), "others".into())
        );
    }

    proptest! {
        #[test]
        fn different_values_have_different_texts(values in prop::collection::hash_set(prop::collection::vec(any::<u8>(), 0..6), 0..40)) {
            let texts: HashSet<String> = values.iter().map(|value| shown(value)).collect();
            prop_assert_eq!(texts.len(), values.len());
            prop_assert!(texts.iter().all(|text| text.is_ascii() && !text.contains(['"', '\\', '\n']) && text != OTHER));
        }
    }
}
