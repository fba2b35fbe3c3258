//! `struct`: numbers and strings packed as C lays them out, as Roberto Ierusalimschy's library does.

use super::add;
use super::arguments::{bad, integer_or, number, text, truncated};
use crate::lua::{Raise, Returned, Stack};

/// LIMIT: bytes of an integer.
const INTEGER_BYTES_MAX: usize = 32;

/// What `!` without a number aligns to.
const NATIVE_ALIGNMENT: usize = 8;

pub(super) fn install(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    add(stack, library, &[("pack", pack), ("unpack", unpack), ("size", size)])
}

/// One option of a format, with what came before it.
struct Item {
    symbol: u8,
    size: usize,
    padding: usize,
    is_little: bool,
}

struct Format<'a> {
    text: &'a [u8],
    at: usize,
    is_little: bool,
    alignment: usize,
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8]) -> Self {
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Self { text: &text[..end], at: 0, is_little: true, alignment: 1 }
    }

    fn number(&mut self) -> Result<Option<usize>, Raise> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut value = 0_usize;
        for &digit in &self.text[self.at..self.at + digits] {
            value = value * 10 + usize::from(digit - b'0');
            if value > i32::MAX as usize {
                return Err(Raise::text("integral size overflow"));
            }
        }
        self.at += digits;
        Ok((digits > 0).then_some(value))
    }

    fn integer_size(&mut self) -> Result<usize, Raise> {
        let size = self.number()?.unwrap_or(4);
        if size > INTEGER_BYTES_MAX {
            let text = format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
            return Err(Raise::Text(text.into()));
        }
        Ok(size)
    }

    /// The next option; `total` bytes are before it.
    fn next(&mut self, total: usize) -> Result<Option<Item>, Raise> {
        loop {
            let Some(&symbol) = self.text.get(self.at) else { return Ok(None) };
            self.at += 1;
            let size = match symbol {
                b'B' | b'b' | b'x' => 1,
                b'H' | b'h' => 2,
                b'L' | b'l' | b'T' | b'd' => 8,
                b'f' => 4,
                b'c' => self.number()?.unwrap_or(1),
                b'i' | b'I' => self.integer_size()?,
                b's' => 0,
                b' ' => continue,
                b'>' => {
                    self.is_little = false;
                    continue;
                }
                b'<' => {
                    self.is_little = true;
                    continue;
                }
                b'!' => {
                    let alignment = self.number()?.unwrap_or(NATIVE_ALIGNMENT);
                    if !alignment.is_power_of_two() {
                        let text = format!("alignment {alignment} is not a power of 2");
                        return Err(Raise::Text(text.into()));
                    }
                    self.alignment = alignment;
                    continue;
                }
                other => {
                    let text = format!("invalid format option '{}'", char::from(other));
                    return Err(Raise::Argument(1, text.into()));
                }
            };
            let aligned = if symbol == b'c' { 0 } else { size.min(self.alignment) };
            let padding = if aligned > 1 && aligned.is_power_of_two() {
                (aligned - (total & (aligned - 1))) & (aligned - 1)
            } else {
                0
            };
            return Ok(Some(Item { symbol, size, padding, is_little: self.is_little }));
        }
    }
}

fn pack(stack: &mut Stack<'_>) -> Returned {
    let mut format = Format::new(text(stack, 1)?);
    let mut out = Vec::new();
    let mut at = 2;
    while let Some(Item { symbol, size, padding, is_little }) = format.next(out.len())? {
        stack.charge(1)?;
        stack.check_room(out.len().saturating_add(size))?;
        out.resize(out.len() + padding, 0);
        match symbol {
            b'x' => out.push(0),
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let value = number(stack, at)?;
                let value = if value < 0.0 { truncated(value) } else { value as u64 as i64 };
                at += 1;
                let mut bytes = [0; INTEGER_BYTES_MAX];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                let bytes = &mut bytes[..size];
                if !is_little {
                    bytes.reverse();
                }
                out.extend_from_slice(bytes);
            }
            b'f' | b'd' => {
                let value = number(stack, at)?;
                at += 1;
                let mut bytes = if symbol == b'f' {
                    (value as f32).to_le_bytes().to_vec()
                } else {
                    value.to_le_bytes().to_vec()
                };
                if !is_little {
                    bytes.reverse();
                }
                out.extend_from_slice(&bytes);
            }
            _ => {
                let value = text(stack, at)?;
                let size = if size == 0 { value.len() } else { size };
                if value.len() < size {
                    // One too many, as the original counts.
                    return Err(bad(at + 1, "string too short"));
                }
                at += 1;
                out.extend_from_slice(&value[..size]);
                if symbol == b's' {
                    out.push(0);
                }
            }
        }
    }
    stack.push_bytes(&out)?;
    Ok(1)
}

fn unpack(stack: &mut Stack<'_>) -> Returned {
    let mut format = Format::new(text(stack, 1)?);
    let data = text(stack, 2)?;
    let start = integer_or(stack, 3, 1)?;
    if start == 0 {
        return Err(bad(3, "offset must be 1 or greater"));
    }
    let mut at = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let mut count = 0;
    let too_short = || bad(2, "data string too short");
    while let Some(item) = format.next(at)? {
        let Item { symbol, size, padding, is_little } = item;
        stack.charge(1)?;
        at = at.saturating_add(padding);
        if at > data.len() || size > data.len() - at {
            return Err(too_short());
        }
        let mut taken = size;
        match symbol {
            b'x' => {}
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let value =
                    integer_of(&data[at..at + size], is_little, symbol.is_ascii_lowercase());
                stack.push_number(value)?;
                count += 1;
            }
            b'f' | b'd' => {
                let mut bytes = [0; 8];
                let bytes = &mut bytes[..size];
                bytes.copy_from_slice(&data[at..at + size]);
                if !is_little {
                    bytes.reverse();
                }
                let value = match *bytes {
                    [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
                    [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
                    _ => 0.0,
                };
                stack.push_number(value)?;
                count += 1;
            }
            b'c' => {
                if size == 0 {
                    let before = (count > 0).then(|| stack.number(-1)).flatten();
                    let Some(before) = before else {
                        return Err(Raise::text("format 'c0' needs a previous size"));
                    };
                    taken = usize::try_from(truncated(before)).unwrap_or(usize::MAX);
                    stack.pop(1);
                    count -= 1;
                    if taken > data.len() - at {
                        return Err(too_short());
                    }
                }
                stack.push_bytes(&data[at..at + taken])?;
                count += 1;
            }
            _ => {
                let rest = &data[at..];
                let Some(end) = rest.iter().position(|&byte| byte == 0) else {
                    return Err(Raise::text("unfinished string in data"));
                };
                stack.push_bytes(&rest[..end])?;
                count += 1;
                taken = end + 1;
            }
        }
        at += taken;
    }
    stack.push_number((at + 1) as f64)?;
    Ok(count + 1)
}

/// An integer of up to 32 bytes, of which the lower 8 count.
fn integer_of(bytes: &[u8], is_little: bool, is_signed: bool) -> f64 {
    let mut value = 0_u64;
    let mut add = |byte: &u8| value = (value << 8) | u64::from(*byte);
    if is_little {
        bytes.iter().rev().for_each(&mut add);
    } else {
        bytes.iter().for_each(&mut add);
    }
    if !is_signed {
        return value as f64;
    }
    let bits = bytes.len() * 8;
    if (1..64).contains(&bits) && value >> (bits - 1) & 1 == 1 {
        value |= u64::MAX << bits;
    }
    value as i64 as f64
}

fn size(stack: &mut Stack<'_>) -> Returned {
    let mut format = Format::new(text(stack, 1)?);
    let mut total = 0_usize;
    while let Some(Item { symbol, size, padding, .. }) = format.next(total)? {
        if symbol == b's' {
            return Err(bad(1, "option 's' has no fixed size"));
        }
        if symbol == b'c' && size == 0 {
            return Err(bad(1, "option 'c0' has no fixed size"));
        }
        total = total.saturating_add(padding + size);
        if total > i32::MAX as usize {
            return Err(Raise::text("total size overflow"));
        }
    }
    stack.push_number(total as f64)?;
    Ok(1)
}
