//! Replies in the format of redis-cli.
//!
//! `(nil)`, `(integer) 3`, `"str"`, `1) …`; in RESP3 also `1~` for sets and `1# key => value` for
//! maps. A test compares this with the real redis-cli.

use basalt_resp::Value;
use std::fmt::Write as _;

/// The lines that redis-cli would print.
pub fn print(value: &Value) -> String {
    let mut out = String::new();
    print_at(value, "", &mut out);
    out
}

/// As [`print()`], with the elements of the innermost lists sorted by their text: for replies in
/// any order.
pub fn print_sorted(value: &Value) -> String {
    print(&sorted(value))
}

fn sorted(value: &Value) -> Value {
    let sort = |elements: &[Value]| {
        let mut elements: Vec<Value> = elements.iter().map(sorted).collect();
        if !elements.iter().any(is_list) {
            elements.sort_by_key(print);
        }
        elements
    };
    match value {
        Value::Array(elements) => Value::Array(sort(elements)),
        Value::Set(elements) => Value::Set(sort(elements)),
        Value::Map(pairs) => {
            let mut pairs: Vec<(Value, Value)> =
                pairs.iter().map(|(key, value)| (sorted(key), sorted(value))).collect();
            pairs.sort_by_key(|(key, _)| print(key));
            Value::Map(pairs)
        }
        other => other.clone(),
    }
}

fn is_list(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Set(_))
}

fn print_at(value: &Value, indent: &str, out: &mut String) {
    match value {
        Value::Simple(text) => line(out, &lossy(text)),
        Value::Error(text) | Value::BulkError(text) => {
            line(out, &format!("(error) {}", lossy(text)));
        }
        Value::Integer(number) => line(out, &format!("(integer) {number}")),
        Value::Double(number) => line(out, &format!("(double) {number}")),
        Value::BigNumber(digits) => line(out, &format!("(big number) {digits}")),
        Value::Boolean(truth) => line(out, if *truth { "(true)" } else { "(false)" }),
        Value::Null | Value::NullArray => line(out, "(nil)"),
        Value::Bulk(bytes) => line(out, &quoted(bytes)),
        Value::Verbatim { text, .. } => line(out, &lossy(text)),
        Value::Array(elements) => list(elements, ')', "(empty array)", indent, out),
        Value::Set(elements) => list(elements, '~', "(empty set)", indent, out),
        Value::Push(elements) => list(elements, ')', "(empty push)", indent, out),
        Value::Map(pairs) => map(pairs, indent, out),
        // redis-cli ignores attributes.
        Value::Attribute(_, value) => print_at(value, indent, out),
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn list(elements: &[Value], mark: char, when_empty: &str, indent: &str, out: &mut String) {
    if elements.is_empty() {
        return line(out, when_empty);
    }
    let width = elements.len().to_string().len();
    let inner = format!("{indent}{:width$}  ", "");
    for (index, element) in elements.iter().enumerate() {
        start_of_element(index, width, mark, indent, out);
        print_at(element, &inner, out);
    }
}

fn map(pairs: &[(Value, Value)], indent: &str, out: &mut String) {
    if pairs.is_empty() {
        return line(out, "(empty hash)");
    }
    let width = pairs.len().to_string().len();
    let inner = format!("{indent}{:width$}  ", "");
    for (index, (key, value)) in pairs.iter().enumerate() {
        start_of_element(index, width, '#', indent, out);
        print_at(key, &inner, out);
        out.pop();
        out.push_str(" => ");
        if has_many(value) {
            out.push('\n');
            out.push_str(&inner);
        }
        print_at(value, &inner, out);
    }
}

/// Lists of more than one element start on their own line within a map.
fn has_many(value: &Value) -> bool {
    match value {
        Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => elements.len() > 1,
        Value::Map(pairs) => pairs.len() > 1,
        _ => false,
    }
}

/// The first element is on the line of its parent.
fn start_of_element(index: usize, width: usize, mark: char, indent: &str, out: &mut String) {
    let indent = if index == 0 { "" } else { indent };
    let _ = write!(out, "{indent}{:>width$}{mark} ", index + 1);
}

/// In double quotes, with escapes for all that is not printable ASCII.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::bulk(text)
    }

    #[test]
    fn lists_are_numbered_and_indented() {
        let inner = Value::Array(vec![bulk("a"), Value::Integer(1)]);
        let mut elements = vec![inner, Value::Array(vec![]), Value::Null];
        assert_eq!(
            print(&Value::Array(elements.clone())),
            "1) 1) \"a\"\n   2) (integer) 1\n2) (empty array)\n3) (nil)\n"
        );
        elements.extend(vec![Value::Boolean(true); 7]);
        let printed = print(&Value::Array(elements));
        assert!(printed.starts_with(" 1) 1) \"a\"\n    2) (integer) 1\n 2) (empty"), "{printed}");
        assert!(printed.ends_with(" 9) (true)\n10) (true)\n"), "{printed}");
    }

    #[test]
    fn maps_and_sets_have_marks_of_their_own() {
        let map = Value::Map(vec![
            (bulk("many"), Value::Set(vec![bulk("x"), bulk("y")])),
            (bulk("one"), Value::Set(vec![bulk("z")])),
        ]);
        let expected = "1# \"many\" => \n   1~ \"x\"\n   2~ \"y\"\n2# \"one\" => 1~ \"z\"\n";
        assert_eq!(print(&map), expected);
    }

    #[test]
    fn only_the_innermost_lists_are_sorted() {
        let keys = Value::Array(vec![bulk("b"), bulk("a")]);
        let scan = Value::Array(vec![bulk("0"), keys]);
        assert_eq!(print_sorted(&scan), "1) \"0\"\n2) 1) \"a\"\n   2) \"b\"\n");
    }

    #[test]
    fn bytes_are_escaped() {
        assert_eq!(quoted(b"a\"\\\r\n\t\x07\x08\0\xff~"), r#""a\"\\\r\n\t\a\b\x00\xff~""#);
    }
}
