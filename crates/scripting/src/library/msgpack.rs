//! `cmsgpack`: MessagePack as lua-cmsgpack 0.4 writes and reads it.

use super::add;
use super::arguments::{integer, integer_or, text, truncated};
use crate::limits::NESTING_MAX;
use crate::lua::{Kind, Raise, Returned, Stack};

/// LIMIT: tables within tables; deeper ones are packed as nil, as lua-cmsgpack does.
const PACK_DEPTH_MAX: usize = 16;

pub(super) fn install(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    add(
        stack,
        library,
        &[
            ("pack", pack),
            ("unpack", |stack| unpack(stack, None)),
            ("unpack_one", |stack| {
                let offset = integer_or(stack, 2, 0)?;
                unpack(stack, Some((1, offset)))
            }),
            ("unpack_limit", |stack| {
                text(stack, 1)?;
                let (limit, offset) = (integer(stack, 2)?, integer_or(stack, 3, 0)?);
                unpack(stack, Some((limit, offset)))
            }),
        ],
    )?;
    for (name, value) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        stack.push_bytes(value.as_bytes())?;
        stack.set_field(library, name)?;
    }
    Ok(())
}

fn pack(stack: &mut Stack<'_>) -> Returned {
    let count = stack.arg_count();
    if count == 0 {
        return Err(super::arguments::bad(0, "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for at in 1..=count {
        pack_value(stack, i32::try_from(at).unwrap_or(0), 0, &mut out)?;
    }
    stack.push_bytes(&out)?;
    Ok(1)
}

fn pack_value(
    stack: &mut Stack<'_>,
    at: i32,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), Raise> {
    stack.charge(1)?;
    match stack.kind(at) {
        Kind::String => {
            let text = stack.bytes(at).unwrap_or_default();
            let len = text.len();
            match len {
                0..32 => out.push(0xa0 | len as u8),
                32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
                0x100..=0xffff => head(0xda, &(len as u16).to_be_bytes(), out),
                _ => head(0xdb, &(len as u32).to_be_bytes(), out),
            }
            out.extend_from_slice(text);
        }
        Kind::Boolean => out.push(if stack.boolean(at) { 0xc3 } else { 0xc2 }),
        Kind::Number => pack_number(stack.number(at).unwrap_or(0.0), out),
        Kind::Table if depth < PACK_DEPTH_MAX => pack_table(stack, at, depth, out)?,
        _ => out.push(0xc0),
    }
    stack.check_room(out.len())
}

fn head(kind: u8, len: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(len);
}

fn pack_number(value: f64, out: &mut Vec<u8>) {
    let whole = truncated(value);
    if whole as f64 == value && (whole != i64::MIN || value == -9_223_372_036_854_775_808.0) {
        return match whole {
            0..=0x7f => out.push(whole as u8),
            0x80..=0xff => out.extend_from_slice(&[0xcc, whole as u8]),
            0x100..=0xffff => head(0xcd, &(whole as u16).to_be_bytes(), out),
            0x1_0000..=0xffff_ffff => head(0xce, &(whole as u32).to_be_bytes(), out),
            0x1_0000_0000.. => head(0xcf, &whole.to_be_bytes(), out),
            -32..0 => out.push(whole as i8 as u8),
            -0x80..-32 => out.extend_from_slice(&[0xd0, whole as i8 as u8]),
            -0x8000..-0x80 => head(0xd1, &(whole as i16).to_be_bytes(), out),
            -0x8000_0000..-0x8000 => head(0xd2, &(whole as i32).to_be_bytes(), out),
            _ => head(0xd3, &whole.to_be_bytes(), out),
        };
    }
    let short = value as f32;
    if f64::from(short) == value {
        head(0xca, &short.to_be_bytes(), out);
    } else {
        head(0xcb, &value.to_be_bytes(), out);
    }
}

fn pack_table(
    stack: &mut Stack<'_>,
    at: i32,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), Raise> {
    let at = if at < 0 { stack.top() + 1 + at } else { at };
    let (mut count, mut highest, mut is_array) = (0_usize, 0, true);
    stack.push_nil()?;
    while stack.next(at)? {
        stack.charge(1)?;
        let key = stack.number(-2).filter(|key| *key > 0.0 && key.trunc() == *key);
        match key {
            Some(key) => highest = truncated(key).max(highest),
            None => is_array = false,
        }
        count += 1;
        stack.pop(1);
    }
    if is_array && usize::try_from(highest) == Ok(count) {
        match count {
            0..16 => out.push(0x90 | count as u8),
            16..=0xffff => head(0xdc, &(count as u16).to_be_bytes(), out),
            _ => head(0xdd, &(count as u32).to_be_bytes(), out),
        }
        for index in 1..=highest {
            stack.get_item(at, index)?;
            let value = stack.top();
            pack_value(stack, value, depth + 1, out)?;
            stack.pop(1);
        }
        return Ok(());
    }
    match count {
        0..16 => out.push(0x80 | count as u8),
        16..=0xffff => head(0xde, &(count as u16).to_be_bytes(), out),
        _ => head(0xdf, &(count as u32).to_be_bytes(), out),
    }
    stack.push_nil()?;
    while stack.next(at)? {
        let value = stack.top();
        pack_value(stack, value - 1, depth + 1, out)?;
        pack_value(stack, value, depth + 1, out)?;
        stack.pop(1);
    }
    Ok(())
}

/// All values, or with `(limit, offset)` some of them, behind the offset where the rest begins (-1 at the end).
fn unpack(stack: &mut Stack<'_>, part: Option<(i64, i64)>) -> Returned {
    let bytes = text(stack, 1)?;
    let (limit, offset) = part.unwrap_or((0, 0));
    if offset < 0 || limit < 0 {
        let length = bytes.len();
        let text = format!(
            "Invalid request to unpack with offset of {offset} and limit of {}.",
            if part.is_some_and(|(limit, _)| limit == 1) && limit == 1 {
                i64::try_from(length).unwrap_or(0)
            } else {
                limit
            }
        );
        return Err(Raise::Text(text.into()));
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if start > bytes.len() {
        let text = format!("Start offset {start} greater than input length {}.", bytes.len());
        return Err(Raise::Text(text.into()));
    }
    let takes_all = limit == 0 && offset == 0;
    let limit = if takes_all { usize::MAX } else { usize::try_from(limit).unwrap_or(0) };
    let mut reader = Reader { bytes, at: start };
    let mut count = 0;
    while reader.at < bytes.len() && count < limit {
        reader.value(stack, 0)?;
        count += 1;
    }
    if takes_all {
        return Ok(count);
    }
    let next = if reader.at == bytes.len() { -1.0 } else { reader.at as f64 };
    stack.push_number(next)?;
    stack.insert(-1 - i32::try_from(count).unwrap_or(0));
    Ok(count + 1)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Raise> {
        let taken = self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Raise::text("Missing bytes in input."))?;
        self.at += len;
        Ok(taken)
    }

    /// An unsigned number of up to 8 bytes.
    fn unsigned(&mut self, len: usize) -> Result<u64, Raise> {
        Ok(self.take(len)?.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    fn len(&mut self, bytes: usize) -> Result<usize, Raise> {
        Ok(usize::try_from(self.unsigned(bytes)?).unwrap_or(usize::MAX))
    }

    fn value(&mut self, stack: &mut Stack<'_>, depth: usize) -> Result<(), Raise> {
        stack.charge(1)?;
        let kind = self.unsigned(1)? as u8;
        match kind {
            0x00..=0x7f => stack.push_number(f64::from(kind)),
            0xe0..=0xff => stack.push_number(f64::from(kind as i8)),
            0xc0 => stack.push_nil(),
            0xc2 => stack.push_boolean(false),
            0xc3 => stack.push_boolean(true),
            0xcc => self.unsigned(1).and_then(|value| stack.push_number(value as f64)),
            0xcd => self.unsigned(2).and_then(|value| stack.push_number(value as f64)),
            0xce => self.unsigned(4).and_then(|value| stack.push_number(value as f64)),
            0xcf => self.unsigned(8).and_then(|value| stack.push_number(value as f64)),
            0xd0 => self.unsigned(1).and_then(|value| stack.push_number(f64::from(value as i8))),
            0xd1 => self.unsigned(2).and_then(|value| stack.push_number(f64::from(value as i16))),
            0xd2 => self.unsigned(4).and_then(|value| stack.push_number(f64::from(value as i32))),
            0xd3 => self.unsigned(8).and_then(|value| stack.push_number(value as i64 as f64)),
            0xca => {
                let bits = self.unsigned(4)? as u32;
                stack.push_number(f64::from(f32::from_bits(bits)))
            }
            0xcb => {
                let bits = self.unsigned(8)?;
                stack.push_number(f64::from_bits(bits))
            }
            0xa0..=0xbf => self.text(stack, usize::from(kind & 0x1f)),
            0xd9 | 0xc4 => self.len(1).and_then(|len| self.text(stack, len)),
            0xda | 0xc5 => self.len(2).and_then(|len| self.text(stack, len)),
            0xdb | 0xc6 => self.len(4).and_then(|len| self.text(stack, len)),
            0x90..=0x9f => self.array(stack, usize::from(kind & 0x0f), depth),
            0xdc => self.len(2).and_then(|len| self.array(stack, len, depth)),
            0xdd => self.len(4).and_then(|len| self.array(stack, len, depth)),
            0x80..=0x8f => self.map(stack, usize::from(kind & 0x0f), depth),
            0xde => self.len(2).and_then(|len| self.map(stack, len, depth)),
            0xdf => self.len(4).and_then(|len| self.map(stack, len, depth)),
            _ => Err(Raise::text("Bad data format in input.")),
        }
    }

    fn text(&mut self, stack: &mut Stack<'_>, len: usize) -> Result<(), Raise> {
        let text = self.take(len)?;
        stack.push_bytes(text)
    }

    fn deeper(depth: usize) -> Result<usize, Raise> {
        if depth >= NESTING_MAX {
            return Err(Raise::text("Too many nested values in input."));
        }
        Ok(depth + 1)
    }

    /// Nothing is reserved for a length that the input only claims.
    fn array(&mut self, stack: &mut Stack<'_>, len: usize, depth: usize) -> Result<(), Raise> {
        let depth = Self::deeper(depth)?;
        stack.push_table(0, 0)?;
        let table = stack.top();
        for index in 1..=i64::try_from(len).unwrap_or(i64::MAX) {
            self.value(stack, depth)?;
            stack.set_item(table, index)?;
        }
        Ok(())
    }

    fn map(&mut self, stack: &mut Stack<'_>, len: usize, depth: usize) -> Result<(), Raise> {
        let depth = Self::deeper(depth)?;
        stack.push_table(0, 0)?;
        let table = stack.top();
        for _ in 0..len {
            self.value(stack, depth)?;
            self.value(stack, depth)?;
            stack.set(table)?;
        }
        Ok(())
    }
}
