//! Listpack: elements one behind the other, as streams have them.

use basalt_keyspace::Content;

use crate::format::put_length_backwards;

const HEAD_BYTES: usize = 6;
const END: u8 = 0xFF;

/// A listpack that grows at its end.
#[derive(Debug)]
pub(super) struct ListpackBuilder {
    bytes: Vec<u8>,
    count: usize,
}

impl ListpackBuilder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEAD_BYTES], count: 0 }
    }

    pub(super) fn push_integer(&mut self, value: i64) {
        let start = self.bytes.len();
        let out = &mut self.bytes;
        match value {
            0..=127 => out.push(value as u8),
            -4096..=4095 => {
                let bits = (value & 0x1FFF) as u16;
                out.extend([0xC0 | (bits >> 8) as u8, bits as u8]);
            }
            _ if i16::try_from(value).is_ok() => put_integer(out, 0xF1, value, 2),
            -0x80_0000..=0x7F_FFFF => put_integer(out, 0xF2, value, 3),
            _ if i32::try_from(value).is_ok() => put_integer(out, 0xF3, value, 4),
            _ => put_integer(out, 0xF4, value, 8),
        }
        self.end_element(start);
    }

    pub(super) fn push_text(&mut self, text: &[u8]) {
        if let Content::Integer(value) = Content::of(text) {
            return self.push_integer(value);
        }
        let start = self.bytes.len();
        let len = text.len();
        match len {
            0..0x40 => self.bytes.push(0x80 | len as u8),
            0x40..0x1000 => self.bytes.extend([0xE0 | (len >> 8) as u8, len as u8]),
            _ => {
                self.bytes.push(0xF0);
                self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
        self.end_element(start);
    }

    fn end_element(&mut self, start: usize) {
        let len = self.bytes.len() - start;
        put_length_backwards(&mut self.bytes, len);
        self.count += 1;
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.bytes[4..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}

fn put_integer(out: &mut Vec<u8>, code: u8, value: i64, bytes: usize) {
    out.push(code);
    out.extend_from_slice(&value.to_le_bytes()[..bytes]);
}
