//! Skip: where a value ends, without building it: so that one reader of a file can hand values to
//! many shards, each of which builds its own.

use super::{Dialect, module_name};
use crate::error::{Error, Result};
use crate::format::{kind, module};
use crate::input::Input;

const RAW_ID_BYTES: usize = 16;
const MOMENT_BYTES: usize = 8;

/// Passes over a value of a type.
///
/// # Errors
/// [`Error::Short`] if the input ends before the value does; others for what cannot be passed over.
pub(crate) fn skip_value(number: u8, dialect: Dialect, input: &mut Input<'_>) -> Result<()> {
    match number {
        kind::STRING
        | kind::LIST_ZIPLIST
        | kind::SET_INTSET
        | kind::SET_LISTPACK
        | kind::ZSET_ZIPLIST
        | kind::ZSET_LISTPACK
        | kind::HASH_ZIPMAP
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK => input.skip_text(),
        kind::LIST | kind::LIST_QUICKLIST | kind::SET => each(input, |input| input.skip_text()),
        kind::LIST_QUICKLIST_2 => each(input, |input| {
            input.number()?;
            input.skip_text()
        }),
        kind::HASH => each(input, |input| {
            input.skip_text()?;
            input.skip_text()
        }),
        kind::ZSET => each(input, |input| {
            input.skip_text()?;
            match input.byte()? {
                253..=255 => Ok(()),
                len => input.take(usize::from(len)).map(|_| ()),
            }
        }),
        kind::ZSET_2 => each(input, |input| {
            input.skip_text()?;
            input.take(8).map(|_| ())
        }),
        kind::HASH_EXPIRING_22 if dialect == Dialect::Valkey => each(input, |input| {
            input.skip_text()?;
            input.skip_text()?;
            input.take(MOMENT_BYTES).map(|_| ())
        }),
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => skip_stream(number, input),
        kind::MODULE_2 => Err(Error::Module(module_name(input.number()?))),
        kind::MODULE_PRE_GA => Err(Error::Module("of a release candidate of Redis 4".to_owned())),
        _ if dialect == Dialect::Valkey => Err(Error::UnknownType(number)),
        kind::HASH_EXPIRING_22 | kind::HASH_METADATA => {
            if number == kind::HASH_METADATA {
                input.take(MOMENT_BYTES)?;
            }
            each(input, |input| {
                input.number()?;
                input.skip_text()?;
                input.skip_text()
            })
        }
        kind::HASH_LISTPACK_EX => {
            input.take(MOMENT_BYTES)?;
            input.skip_text()
        }
        kind::HASH_LISTPACK_EX_PRE_GA => input.skip_text(),
        kind::STREAM_4 | kind::STREAM_5 => skip_stream(number, input),
        _ => Err(Error::UnknownType(number)),
    }
}

fn each(input: &mut Input<'_>, skip: impl Fn(&mut Input<'_>) -> Result<()>) -> Result<()> {
    for _ in 0..input.number()? {
        skip(input)?;
    }
    Ok(())
}

fn skip_numbers(input: &mut Input<'_>, count: usize) -> Result<()> {
    for _ in 0..count {
        input.number()?;
    }
    Ok(())
}

fn skip_stream(number: u8, input: &mut Input<'_>) -> Result<()> {
    each(input, |input| {
        input.skip_text()?;
        input.skip_text()
    })?;
    skip_numbers(input, 3)?;
    let is_second = number >= kind::STREAM_2;
    if is_second {
        skip_numbers(input, 5)?;
    }
    each(input, |input| {
        input.skip_text()?;
        skip_numbers(input, if is_second { 3 } else { 2 })?;
        each(input, |input| {
            input.take(RAW_ID_BYTES + MOMENT_BYTES)?;
            input.number().map(|_| ())
        })?;
        each(input, |input| {
            input.skip_text()?;
            input.take(if number >= kind::STREAM_3 { 2 * MOMENT_BYTES } else { MOMENT_BYTES })?;
            each(input, |input| input.take(RAW_ID_BYTES).map(|_| ()))
        })?;
        if number >= kind::STREAM_5 {
            each(input, |input| input.take(RAW_ID_BYTES).map(|_| ()))?;
        }
        Ok(())
    })?;
    if number >= kind::STREAM_4 {
        skip_numbers(input, 2)?;
        each(input, |input| {
            input.skip_text()?;
            each(input, |input| {
                input.skip_text()?;
                skip_numbers(input, 2)
            })
        })?;
        skip_numbers(input, 2)?;
    }
    Ok(())
}

/// Passes over the parts of a module's value or metadata, up to their end.
pub(crate) fn skip_module_parts(input: &mut Input<'_>) -> Result<()> {
    loop {
        match input.number()? {
            module::EOF => return Ok(()),
            module::SIGNED | module::UNSIGNED => _ = input.number()?,
            module::FLOAT => _ = input.take(4)?,
            module::DOUBLE => _ = input.take(8)?,
            module::STRING => input.skip_text()?,
            _ => return Err(Error::Malformed("a part of a module's data of an unknown form")),
        }
    }
}
