//! Replies: from commands into Lua values, from Lua values to the client.

use basalt_resp::{Protocol, Reply, parse_f64, parse_i64};

use crate::library::truncated;
use crate::limits::{NESTING_MAX, REPLY_BYTES_MAX};
use crate::lua::{Kind, Raise, Stack};

/// Pushes a table with an error, whose text begins with its code; a text of one word is no code, and gets
/// the usual one. `is_counted` says that the command's statistics have it.
pub(crate) fn push_error(
    stack: &mut Stack<'_>,
    text: &[u8],
    is_counted: bool,
) -> Result<(), Raise> {
    stack.push_table(0, 2)?;
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let end = text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    let text = &text[..end];
    if text.contains(&b' ') {
        stack.push_bytes(text)?;
    } else {
        stack.push_bytes(&[b"ERR ", text].concat())?;
    }
    stack.set_field(-2, "err")?;
    if is_counted {
        stack.push_boolean(true)?;
        stack.set_field(-2, "ignore_error_stats_update")?;
    }
    Ok(())
}

/// Pushes an encoded reply of a command as the value that scripts get.
pub(crate) fn push_reply(stack: &mut Stack<'_>, encoded: &[u8]) -> Result<(), Raise> {
    let mut reader = Encoded { bytes: encoded, at: 0 };
    reader.push(stack, 0)
}

struct Encoded<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Encoded<'a> {
    fn line(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let end = rest.iter().position(|&byte| byte == b'\r').unwrap_or(rest.len());
        self.at += end + 2;
        &rest[..end]
    }

    fn text(&mut self, len: usize) -> &'a [u8] {
        let start = self.at.min(self.bytes.len());
        let end = start.saturating_add(len).min(self.bytes.len());
        self.at = end + 2;
        &self.bytes[start..end]
    }

    fn push(&mut self, stack: &mut Stack<'_>, depth: usize) -> Result<(), Raise> {
        if depth > NESTING_MAX {
            return Err(Raise::bare("reply is nested too deeply"));
        }
        let line = self.line();
        let Some((&kind, rest)) = line.split_first() else {
            return stack.push_boolean(false);
        };
        let number = || parse_i64(rest).unwrap_or(0);
        match kind {
            b'$' => match usize::try_from(number()) {
                Ok(len) => {
                    let text = self.text(len);
                    stack.push_bytes(text)
                }
                Err(_) => stack.push_boolean(false),
            },
            b':' => stack.push_number(number() as f64),
            b'+' => {
                stack.push_table(0, 1)?;
                stack.push_bytes(rest)?;
                stack.set_field(-2, "ok")
            }
            b'-' => push_error(stack, rest, true),
            b'*' | b'>' => match usize::try_from(number()) {
                Ok(len) => self.array(stack, len, depth),
                Err(_) => stack.push_boolean(false),
            },
            b'%' => self.pairs(stack, ("map", number()), depth),
            b'~' => self.pairs(stack, ("set", number()), depth),
            b'_' => stack.push_nil(),
            b'#' => stack.push_boolean(rest == b"t"),
            b',' => {
                stack.push_table(0, 1)?;
                stack.push_number(parse_f64(rest).unwrap_or(f64::NAN))?;
                stack.set_field(-2, "double")
            }
            b'(' => {
                stack.push_table(0, 1)?;
                stack.push_bytes(rest)?;
                stack.set_field(-2, "big_number")
            }
            b'=' => {
                let text = self.text(usize::try_from(number()).unwrap_or(0));
                let (format, text) = text.split_at(text.len().min(4));
                stack.push_table(0, 1)?;
                stack.push_table(0, 2)?;
                stack.push_bytes(text)?;
                stack.set_field(-2, "string")?;
                stack.push_bytes(format.strip_suffix(b":").unwrap_or(format))?;
                stack.set_field(-2, "format")?;
                stack.set_field(-2, "verbatim_string")
            }
            b'|' => {
                // Attributes are skipped, as Redis does.
                for _ in 0..number().saturating_mul(2) {
                    self.push(stack, depth + 1)?;
                    stack.pop(1);
                }
                self.push(stack, depth + 1)
            }
            _ => stack.push_boolean(false),
        }
    }

    fn array(&mut self, stack: &mut Stack<'_>, len: usize, depth: usize) -> Result<(), Raise> {
        stack.push_table(len.min(self.bytes.len()), 0)?;
        let table = stack.top();
        for index in 1..=i64::try_from(len).unwrap_or(i64::MAX) {
            self.push(stack, depth + 1)?;
            stack.set_item(table, index)?;
        }
        Ok(())
    }

    /// A map, or a set as the keys of a table.
    fn pairs(
        &mut self,
        stack: &mut Stack<'_>,
        (name, len): (&str, i64),
        depth: usize,
    ) -> Result<(), Raise> {
        stack.push_table(0, 1)?;
        stack.push_table(0, 0)?;
        let table = stack.top();
        for _ in 0..len {
            self.push(stack, depth + 1)?;
            if name == "map" {
                self.push(stack, depth + 1)?;
            } else {
                stack.push_boolean(true)?;
            }
            stack.set(table)?;
        }
        stack.set_field(-2, name)
    }
}

/// Writes the value on top as a client's reply. `protocol` is what the script chose for its own replies.
pub(crate) fn write_value(
    stack: &mut Stack<'_>,
    protocol: Protocol,
    reply: &mut Reply<'_>,
) -> Result<(), Raise> {
    let start = reply.position();
    let at = stack.top();
    let mut writer = Writer { protocol, reply: reply.reborrow(), start };
    writer.value(stack, at, 0)
}

struct Writer<'a> {
    protocol: Protocol,
    reply: Reply<'a>,
    start: usize,
}

impl Writer<'_> {
    fn value(&mut self, stack: &mut Stack<'_>, at: i32, depth: usize) -> Result<(), Raise> {
        stack.charge(1)?;
        if self.reply.position() - self.start > REPLY_BYTES_MAX {
            return Err(Raise::Memory);
        }
        match stack.kind(at) {
            Kind::String => self.reply.bulk(stack.bytes(at).unwrap_or_default()),
            Kind::Number => self.reply.integer(truncated(stack.number(at).unwrap_or(0.0))),
            Kind::Boolean => {
                let value = stack.boolean(at);
                match self.protocol {
                    Protocol::Resp3 => self.reply.boolean(value),
                    Protocol::Resp2 if value => self.reply.integer(1),
                    Protocol::Resp2 => self.reply.null(),
                }
            }
            Kind::Table => return self.table(stack, at, depth),
            _ => self.reply.null(),
        }
        Ok(())
    }

    fn table(&mut self, stack: &mut Stack<'_>, at: i32, depth: usize) -> Result<(), Raise> {
        if depth >= NESTING_MAX {
            self.reply.error("ERR reached lua stack limit");
            return Ok(());
        }
        for (name, write) in FIELDS {
            stack.get_field(at, name)?;
            let written = write(self, stack, depth)?;
            stack.pop(1);
            if written {
                return Ok(());
            }
        }
        let array = self.reply.deferred_array();
        let mut count = 0;
        loop {
            stack.get_item(at, i64::try_from(count).unwrap_or(i64::MAX - 1) + 1)?;
            if stack.kind(-1) == Kind::Nil {
                stack.pop(1);
                break;
            }
            let item = stack.top();
            if let Err(raise) = self.value(stack, item, depth + 1) {
                self.reply.finish_array(array, count);
                return Err(raise);
            }
            stack.pop(1);
            count += 1;
        }
        self.reply.finish_array(array, count);
        Ok(())
    }

    fn error(&mut self, stack: &mut Stack<'_>, _: usize) -> Result<bool, Raise> {
        let Some(text) = stack.bytes(-1) else { return Ok(false) };
        self.reply.error_bytes(text.strip_prefix(b"-").unwrap_or(text));
        Ok(true)
    }

    fn status(&mut self, stack: &mut Stack<'_>, _: usize) -> Result<bool, Raise> {
        let Some(text) = stack.bytes(-1) else { return Ok(false) };
        let text = one_line(text);
        self.reply.raw(&[b"+", text.as_slice(), b"\r\n"].concat());
        Ok(true)
    }

    fn double(&mut self, stack: &mut Stack<'_>, _: usize) -> Result<bool, Raise> {
        let Some(value) = stack.number(-1) else { return Ok(false) };
        self.reply.double(value);
        Ok(true)
    }

    fn map(&mut self, stack: &mut Stack<'_>, depth: usize) -> Result<bool, Raise> {
        self.pairs(stack, depth, true)
    }

    fn set(&mut self, stack: &mut Stack<'_>, depth: usize) -> Result<bool, Raise> {
        self.pairs(stack, depth, false)
    }

    fn pairs(&mut self, stack: &mut Stack<'_>, depth: usize, is_map: bool) -> Result<bool, Raise> {
        if stack.kind(-1) != Kind::Table {
            return Ok(false);
        }
        let table = stack.top();
        let deferred = self.reply.deferred_array();
        let mut count = 0;
        let outcome = self.all_pairs(stack, table, depth, is_map, &mut count);
        if is_map {
            self.reply.finish_map(deferred, count);
        } else {
            self.reply.finish_set(deferred, count);
        }
        outcome.map(|()| true)
    }

    fn all_pairs(
        &mut self,
        stack: &mut Stack<'_>,
        table: i32,
        depth: usize,
        is_map: bool,
        count: &mut usize,
    ) -> Result<(), Raise> {
        stack.push_nil()?;
        while stack.next(table)? {
            let value = stack.top();
            self.value(stack, value - 1, depth + 1)?;
            if is_map {
                self.value(stack, value, depth + 1)?;
            }
            stack.pop(1);
            *count += 1;
        }
        Ok(())
    }

    fn big_number(&mut self, stack: &mut Stack<'_>, _: usize) -> Result<bool, Raise> {
        let Some(text) = stack.bytes(-1) else { return Ok(false) };
        let text = one_line(text);
        match self.reply.protocol() {
            Protocol::Resp3 => self.reply.raw(&[b"(", text.as_slice(), b"\r\n"].concat()),
            Protocol::Resp2 => self.reply.bulk(&text),
        }
        Ok(true)
    }

    fn verbatim(&mut self, stack: &mut Stack<'_>, _: usize) -> Result<bool, Raise> {
        if stack.kind(-1) != Kind::Table {
            return Ok(false);
        }
        stack.get_field(-1, "format")?;
        let format = stack.bytes(-1).map(one_line);
        stack.pop(1);
        stack.get_field(-1, "string")?;
        let text = stack.bytes(-1).map(<[u8]>::to_vec);
        stack.pop(1);
        let (Some(mut format), Some(text)) = (format, text) else { return Ok(false) };
        format.resize(3, b' ');
        let format: String = format
            .iter()
            .map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' })
            .collect();
        self.reply.verbatim(&format, &text);
        Ok(true)
    }
}

type WriteField = fn(&mut Writer<'_>, &mut Stack<'_>, usize) -> Result<bool, Raise>;

/// Tables with one of these fields, in this order, are replies of other types than arrays.
const FIELDS: &[(&str, WriteField)] = &[
    ("err", |writer, stack, depth| writer.error(stack, depth)),
    ("ok", |writer, stack, depth| writer.status(stack, depth)),
    ("double", |writer, stack, depth| writer.double(stack, depth)),
    ("map", |writer, stack, depth| writer.map(stack, depth)),
    ("set", |writer, stack, depth| writer.set(stack, depth)),
    ("big_number", |writer, stack, depth| writer.big_number(stack, depth)),
    ("verbatim_string", |writer, stack, depth| writer.verbatim(stack, depth)),
];

/// Without the bytes that would end a line of the protocol.
fn one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&byte| if b"\r\n".contains(&byte) { b' ' } else { byte }).collect()
}
