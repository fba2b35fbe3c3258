//! `cjson`: lua-cjson 2.1 as Redis has it, with its settings, limits and error texts.

use super::add;
use super::arguments::{bad, number, truncated};
use super::numbers::format_general;
use crate::lua::{Kind, Raise, Returned, Stack};

#[derive(Clone, Copy)]
pub(super) struct JsonSettings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth_max: i64,
    decode_depth_max: i64,
    precision: usize,
    encode_invalid: InvalidNumbers,
    decode_invalid: bool,
    keep_buffer: bool,
}

/// What numbers become that JSON has not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InvalidNumbers {
    Error,
    Allowed,
    Null,
}

impl Default for JsonSettings {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            precision: 14,
            encode_invalid: InvalidNumbers::Error,
            decode_invalid: true,
            keep_buffer: true,
        }
    }
}

/// LIMIT: depth that may be asked for: native stack is used for it.
const DEPTH_MAX: i64 = 1000;

pub(super) fn install(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    add(
        stack,
        library,
        &[
            ("encode", encode),
            ("decode", decode),
            ("new", new),
            ("encode_sparse_array", encode_sparse_array),
            ("encode_max_depth", |stack| depth(stack, |json| &mut json.encode_depth_max)),
            ("decode_max_depth", |stack| depth(stack, |json| &mut json.decode_depth_max)),
            ("encode_number_precision", encode_number_precision),
            ("encode_keep_buffer", |stack| switch(stack, |json| &mut json.keep_buffer)),
            ("encode_invalid_numbers", encode_invalid_numbers),
            ("decode_invalid_numbers", |stack| switch(stack, |json| &mut json.decode_invalid)),
        ],
    )?;
    stack.push_null()?;
    stack.set_field(library, "null")?;
    stack.push_bytes(b"cjson")?;
    stack.set_field(library, "_NAME")?;
    stack.push_bytes(b"2.1.0")?;
    stack.set_field(library, "_VERSION")
}

/// A module of its own. Its settings are those of the interpreter.
fn new(stack: &mut Stack<'_>) -> Returned {
    stack.push_table(0, 16)?;
    let library = stack.top();
    install(stack, library)?;
    Ok(1)
}

fn count_args(stack: &Stack<'_>, max: usize) -> Result<(), Raise> {
    if stack.arg_count() > max {
        return Err(bad(max + 1, "found too many arguments"));
    }
    Ok(())
}

fn integer_in(stack: &Stack<'_>, at: usize, (low, high): (i64, i64)) -> Result<Option<i64>, Raise> {
    if matches!(stack.kind(i32::try_from(at).unwrap_or(0)), Kind::None | Kind::Nil) {
        return Ok(None);
    }
    let value = truncated(number(stack, at)?);
    if (low..=high).contains(&value) {
        return Ok(Some(value));
    }
    let text = format!("expected integer between {low} and {high}");
    Err(Raise::Argument(at, text.into()))
}

fn depth(stack: &mut Stack<'_>, field: fn(&mut JsonSettings) -> &mut i64) -> Returned {
    count_args(stack, 1)?;
    let wanted = integer_in(stack, 1, (1, i64::from(i32::MAX)))?;
    let value = {
        let mut settings = stack.settings();
        let field = field(&mut settings.json);
        if let Some(wanted) = wanted {
            *field = wanted;
        }
        *field
    };
    stack.push_number(value as f64)?;
    Ok(1)
}

fn encode_number_precision(stack: &mut Stack<'_>) -> Returned {
    count_args(stack, 1)?;
    let wanted = integer_in(stack, 1, (1, 14))?;
    let value = {
        let mut settings = stack.settings();
        if let Some(wanted) = wanted {
            settings.json.precision = usize::try_from(wanted).unwrap_or(14);
        }
        settings.json.precision
    };
    stack.push_number(value as f64)?;
    Ok(1)
}

fn encode_sparse_array(stack: &mut Stack<'_>) -> Returned {
    count_args(stack, 3)?;
    let convert = option(stack, 1, &[])?;
    let ratio = integer_in(stack, 2, (0, i64::from(i32::MAX)))?;
    let safe = integer_in(stack, 3, (0, i64::from(i32::MAX)))?;
    let json = {
        let mut settings = stack.settings();
        let json = &mut settings.json;
        json.sparse_convert = convert.map_or(json.sparse_convert, |convert| convert == 1);
        json.sparse_ratio = ratio.unwrap_or(json.sparse_ratio);
        json.sparse_safe = safe.unwrap_or(json.sparse_safe);
        *json
    };
    stack.push_boolean(json.sparse_convert)?;
    stack.push_number(json.sparse_ratio as f64)?;
    stack.push_number(json.sparse_safe as f64)?;
    Ok(3)
}

/// 0 for false or "off", 1 for true or "on", and more for further words.
fn option(stack: &Stack<'_>, at: usize, words: &[&str]) -> Result<Option<usize>, Raise> {
    let position = i32::try_from(at).unwrap_or(0);
    match stack.kind(position) {
        Kind::None | Kind::Nil => Ok(None),
        Kind::Boolean => Ok(Some(usize::from(stack.boolean(position)))),
        _ => {
            let word = stack.arg_bytes(position).unwrap_or_default();
            let all = ["off", "on"].iter().chain(words);
            let found = all.clone().position(|known| known.as_bytes() == word);
            found.map(Some).ok_or_else(|| {
                let word = String::from_utf8_lossy(word);
                Raise::Argument(at, format!("invalid option '{word}'").into())
            })
        }
    }
}

fn switch(stack: &mut Stack<'_>, field: fn(&mut JsonSettings) -> &mut bool) -> Returned {
    count_args(stack, 1)?;
    let wanted = option(stack, 1, &[])?;
    let value = {
        let mut settings = stack.settings();
        let field = field(&mut settings.json);
        if let Some(wanted) = wanted {
            *field = wanted == 1;
        }
        *field
    };
    stack.push_boolean(value)?;
    Ok(1)
}

fn encode_invalid_numbers(stack: &mut Stack<'_>) -> Returned {
    count_args(stack, 1)?;
    let wanted = option(stack, 1, &["null"])?;
    let value = {
        let mut settings = stack.settings();
        let field = &mut settings.json.encode_invalid;
        match wanted {
            Some(0) => *field = InvalidNumbers::Error,
            Some(1) => *field = InvalidNumbers::Allowed,
            Some(_) => *field = InvalidNumbers::Null,
            None => {}
        }
        *field
    };
    match value {
        InvalidNumbers::Error => stack.push_boolean(false)?,
        InvalidNumbers::Allowed => stack.push_boolean(true)?,
        InvalidNumbers::Null => stack.push_bytes(b"null")?,
    }
    Ok(1)
}

fn encode(stack: &mut Stack<'_>) -> Returned {
    if stack.arg_count() != 1 {
        return Err(bad(1, "expected 1 argument"));
    }
    let json = stack.settings().json;
    let mut out = Vec::new();
    encode_value(stack, &json, 1, 0, &mut out)?;
    stack.push_bytes(&out)?;
    Ok(1)
}

fn cannot(kind: Kind, reason: &str) -> Raise {
    Raise::Text(format!("Cannot serialise {}: {reason}", kind.name()).into())
}

fn encode_value(
    stack: &mut Stack<'_>,
    json: &JsonSettings,
    at: i32,
    depth: i64,
    out: &mut Vec<u8>,
) -> Result<(), Raise> {
    stack.charge(1)?;
    match stack.kind(at) {
        Kind::String => encode_text(stack.bytes(at).unwrap_or_default(), out),
        Kind::Number => encode_number(json, stack.number(at).unwrap_or(0.0), out)?,
        Kind::Boolean => {
            out.extend_from_slice(if stack.boolean(at) { b"true" } else { b"false" });
        }
        Kind::Nil | Kind::None | Kind::Null => out.extend_from_slice(b"null"),
        Kind::Table => encode_table(stack, json, at, depth + 1, out)?,
        other => return Err(cannot(other, "type not supported")),
    }
    stack.check_room(out.len())
}

fn encode_table(
    stack: &mut Stack<'_>,
    json: &JsonSettings,
    at: i32,
    depth: i64,
    out: &mut Vec<u8>,
) -> Result<(), Raise> {
    if depth > json.encode_depth_max.min(DEPTH_MAX) {
        return Err(Raise::Text(format!("Cannot serialise, excessive nesting ({depth})").into()));
    }
    let absolute = if at < 0 { stack.top() + 1 + at } else { at };
    let length = array_length(stack, json, absolute)?;
    let start = out.len();
    if let Some(length) = length.filter(|&length| length > 0) {
        for index in 1..=length {
            out.push(if index == 1 { b'[' } else { b',' });
            stack.get_item(absolute, index)?;
            let value = stack.top();
            encode_value(stack, json, value, depth, out)?;
            stack.pop(1);
        }
        out.push(b']');
        return Ok(());
    }
    stack.push_nil()?;
    while stack.next(absolute)? {
        out.push(if out.len() == start { b'{' } else { b',' });
        match stack.kind(-2) {
            Kind::String => encode_text(stack.bytes(-2).unwrap_or_default(), out),
            Kind::Number => {
                out.push(b'"');
                encode_number(json, stack.number(-2).unwrap_or(0.0), out)?;
                out.push(b'"');
            }
            other => return Err(cannot(other, "table key must be a number or string")),
        }
        out.push(b':');
        let value = stack.top();
        encode_value(stack, json, value, depth, out)?;
        stack.pop(1);
    }
    if out.len() == start {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

/// The highest index if all keys are whole numbers from 1 on; `None` for other tables.
fn array_length(stack: &mut Stack<'_>, json: &JsonSettings, at: i32) -> Result<Option<i64>, Raise> {
    let (mut highest, mut count) = (0, 0);
    stack.push_nil()?;
    while stack.next(at)? {
        stack.charge(1)?;
        let key = stack.number(-2).filter(|key| *key >= 1.0 && key.trunc() == *key);
        let Some(key) = key else {
            stack.pop(2);
            return Ok(None);
        };
        highest = highest.max(truncated(key));
        count += 1;
        stack.pop(1);
    }
    let is_sparse =
        json.sparse_ratio > 0 && highest > count * json.sparse_ratio && highest > json.sparse_safe;
    if is_sparse && !json.sparse_convert {
        return Err(Raise::text("Cannot serialise table: excessively sparse array"));
    }
    Ok((!is_sparse).then_some(highest))
}

fn encode_number(json: &JsonSettings, value: f64, out: &mut Vec<u8>) -> Result<(), Raise> {
    if !value.is_finite() {
        match json.encode_invalid {
            InvalidNumbers::Error => {
                return Err(cannot(Kind::Number, "must not be NaN or Inf"));
            }
            InvalidNumbers::Null => out.extend_from_slice(b"null"),
            InvalidNumbers::Allowed if value.is_nan() => out.extend_from_slice(b"nan"),
            InvalidNumbers::Allowed => {
                out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
            }
        }
        return Ok(());
    }
    let is_small_integer = value.trunc() == value && value.abs() < 1e14 && value != 0.0;
    if is_small_integer && json.precision == 14 {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(value as i64).as_bytes());
    } else {
        out.extend_from_slice(format_general(value, json.precision).as_bytes());
    }
    Ok(())
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'/' => b'/',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0..0x20 | 0x7f => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.push(b'"');
}

fn decode(stack: &mut Stack<'_>) -> Returned {
    if stack.arg_count() != 1 {
        return Err(bad(1, "expected 1 argument"));
    }
    let text = super::arguments::text(stack, 1)?;
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(Raise::text("JSON parser does not support UTF-16 or UTF-32"));
    }
    let json = stack.settings().json;
    let mut parser = Parser { json, text, at: 0, depth: 0 };
    let token = parser.token();
    parser.value(stack, token)?;
    let token = parser.token();
    if token.kind != TokenKind::End {
        return Err(token.unexpected("the end"));
    }
    Ok(1)
}

struct Parser<'a> {
    json: JsonSettings,
    text: &'a [u8],
    at: usize,
    depth: i64,
}

struct Token {
    kind: TokenKind,
    /// Where it begins, from 0.
    at: usize,
}

#[derive(PartialEq)]
enum TokenKind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    fn unexpected(&self, expected: &str) -> Raise {
        let found = match &self.kind {
            TokenKind::ObjectBegin => "T_OBJ_BEGIN",
            TokenKind::ObjectEnd => "T_OBJ_END",
            TokenKind::ArrayBegin => "T_ARR_BEGIN",
            TokenKind::ArrayEnd => "T_ARR_END",
            TokenKind::String(_) => "T_STRING",
            TokenKind::Number(_) => "T_NUMBER",
            TokenKind::Boolean(_) => "T_BOOLEAN",
            TokenKind::Null => "T_NULL",
            TokenKind::Colon => "T_COLON",
            TokenKind::Comma => "T_COMMA",
            TokenKind::End => "T_END",
            TokenKind::Wrong(text) => text,
        };
        let place = self.at + 1;
        Raise::Text(format!("Expected {expected} but found {found} at character {place}").into())
    }
}

impl Parser<'_> {
    fn value(&mut self, stack: &mut Stack<'_>, token: Token) -> Result<(), Raise> {
        stack.charge(1)?;
        match token.kind {
            TokenKind::String(text) => stack.push_bytes(&text),
            TokenKind::Number(value) => stack.push_number(value),
            TokenKind::Boolean(value) => stack.push_boolean(value),
            TokenKind::Null => stack.push_null(),
            TokenKind::ObjectBegin => self.object(stack),
            TokenKind::ArrayBegin => self.array(stack),
            _ => Err(token.unexpected("value")),
        }
    }

    fn descend(&mut self) -> Result<(), Raise> {
        self.depth += 1;
        if self.depth <= self.json.decode_depth_max.min(DEPTH_MAX) {
            return Ok(());
        }
        let (depth, place) = (self.depth, self.at);
        let text = format!("Found too many nested data structures ({depth}) at character {place}");
        Err(Raise::Text(text.into()))
    }

    fn object(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        self.descend()?;
        stack.push_table(0, 0)?;
        let table = stack.top();
        let mut token = self.token();
        if token.kind == TokenKind::ObjectEnd {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            let TokenKind::String(key) = &token.kind else {
                return Err(token.unexpected("object key string"));
            };
            stack.push_bytes(key)?;
            token = self.token();
            if token.kind != TokenKind::Colon {
                return Err(token.unexpected("colon"));
            }
            let value = self.token();
            self.value(stack, value)?;
            stack.set(table)?;
            token = self.token();
            match token.kind {
                TokenKind::ObjectEnd => break,
                TokenKind::Comma => token = self.token(),
                _ => return Err(token.unexpected("comma or object end")),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        self.descend()?;
        stack.push_table(0, 0)?;
        let table = stack.top();
        let mut token = self.token();
        if token.kind == TokenKind::ArrayEnd {
            self.depth -= 1;
            return Ok(());
        }
        for index in 1.. {
            self.value(stack, token)?;
            stack.set_item(table, index)?;
            token = self.token();
            match token.kind {
                TokenKind::ArrayEnd => break,
                TokenKind::Comma => token = self.token(),
                _ => return Err(token.unexpected("comma or array end")),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn token(&mut self) -> Token {
        while self.text.get(self.at).is_some_and(|byte| b" \t\n\r".contains(byte)) {
            self.at += 1;
        }
        let at = self.at;
        let mut take = |kind: TokenKind, len: usize| {
            self.at += len;
            Token { kind, at }
        };
        match self.text.get(at) {
            // It ends at a zero byte, as in C.
            None | Some(0) => take(TokenKind::End, 0),
            Some(b'{') => take(TokenKind::ObjectBegin, 1),
            Some(b'}') => take(TokenKind::ObjectEnd, 1),
            Some(b'[') => take(TokenKind::ArrayBegin, 1),
            Some(b']') => take(TokenKind::ArrayEnd, 1),
            Some(b',') => take(TokenKind::Comma, 1),
            Some(b':') => take(TokenKind::Colon, 1),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let rest = &self.text[at..];
                if rest.starts_with(b"true") {
                    return take(TokenKind::Boolean(true), 4);
                }
                if rest.starts_with(b"false") {
                    return take(TokenKind::Boolean(false), 5);
                }
                if rest.starts_with(b"null") {
                    return take(TokenKind::Null, 4);
                }
                if self.json.decode_invalid && begins_invalid_number(rest) {
                    return self.number();
                }
                Token { kind: TokenKind::Wrong("invalid token"), at }
            }
        }
    }

    fn number(&mut self) -> Token {
        let at = self.at;
        let rest = &self.text[at..];
        if !self.json.decode_invalid && is_refused_number(rest) {
            return Token { kind: TokenKind::Wrong("invalid number"), at };
        }
        match read_number(rest) {
            Some((value, len)) => {
                self.at += len;
                Token { kind: TokenKind::Number(value), at }
            }
            None => Token { kind: TokenKind::Wrong("invalid number"), at },
        }
    }

    fn string(&mut self) -> Token {
        let begin = self.at;
        let mut at = begin + 1;
        let mut text = Vec::new();
        loop {
            let Some(&byte) = self.text.get(at) else {
                return Token { kind: TokenKind::Wrong("unexpected end of string"), at };
            };
            match byte {
                b'"' => break,
                b'\\' => {
                    let symbol = match self.text.get(at + 1) {
                        Some(b'"') => b'"',
                        Some(b'\\') => b'\\',
                        Some(b'/') => b'/',
                        Some(b'b') => 0x08,
                        Some(b'f') => 0x0c,
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(b'u') => {
                            let Some(len) = push_unicode(&self.text[at..], &mut text) else {
                                let kind = TokenKind::Wrong("invalid unicode escape code");
                                return Token { kind, at };
                            };
                            at += len;
                            continue;
                        }
                        _ => return Token { kind: TokenKind::Wrong("invalid escape code"), at },
                    };
                    text.push(symbol);
                    at += 2;
                }
                _ => {
                    text.push(byte);
                    at += 1;
                }
            }
        }
        self.at = at + 1;
        Token { kind: TokenKind::String(text), at: begin }
    }
}

/// Appends what `\uXXXX`, or two of them for one symbol, stand for; returns how long they are.
fn push_unicode(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 6)?;
        if !digits.starts_with(b"\\u") || !digits[2..].iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(&digits[2..]).ok()?, 16).ok()
    };
    let first = unit(0)?;
    let (code, len) = match first {
        0xd800..0xdc00 => {
            let second = unit(6).filter(|unit| (0xdc00..0xe000).contains(unit))?;
            (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        }
        0xdc00..0xe000 => return None,
        code => (code, 6),
    };
    let symbol = char::from_u32(code)?;
    out.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
    Some(len)
}

fn begins_invalid_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let begins =
        |word: &[u8]| text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word);
    begins(b"inf") || begins(b"nan") || text.first().is_some_and(u8::is_ascii_digit) || begins(b".")
}

/// Numbers that JSON has not: leading zeros, hexadecimal ones, infinity.
fn is_refused_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        [b'0'..=b'9', ..] => false,
        _ => true,
    }
}

/// A number at the beginning of a text as strtod reads it, and its length.
fn read_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign_len = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let is_negative = text.first() == Some(&b'-');
    let signed = |value: f64| if is_negative { -value } else { value };
    let rest = &text[sign_len..];
    let begins =
        |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    if begins(b"infinity") {
        return Some((signed(f64::INFINITY), sign_len + 8));
    }
    if begins(b"inf") {
        return Some((signed(f64::INFINITY), sign_len + 3));
    }
    if begins(b"nan") {
        return Some((signed(f64::NAN), sign_len + 3));
    }
    if begins(b"0x") {
        let digits = rest[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > 0 {
            let value = rest[2..2 + digits].iter().fold(0.0, |value, &digit| {
                value * 16.0 + f64::from(char::from(digit).to_digit(16).unwrap_or(0))
            });
            return Some((signed(value), sign_len + 2 + digits));
        }
    }
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    let mut decimals = 0;
    if rest.get(len) == Some(&b'.') {
        decimals = digits(len + 1);
        if whole + decimals > 0 {
            len += 1 + decimals;
        }
    }
    if whole + decimals == 0 {
        return None;
    }
    if matches!(rest.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(len + 1), Some(b'-' | b'+')));
        let exponent = digits((len + 1 + sign).min(rest.len()));
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    let value = std::str::from_utf8(&rest[..len]).ok()?.parse::<f64>().ok()?;
    Some((signed(value), sign_len + len))
}
