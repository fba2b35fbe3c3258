//! Functions: what FUNCTION DUMP returns: libraries as a file has them, the version of the format and a checksum.

use crate::format::opcode;
use crate::input::Input;
use crate::payload::{open, seal_payload};
use crate::target::Target;
use crate::write::VERSION_REDIS_7_0;
use crate::write::file::FileWriter;

/// What FUNCTION DUMP returns: the code of each library, in the version of Redis 7.0, which all read.
pub fn dump_functions<'a>(
    libraries: impl IntoIterator<Item = &'a [u8]>,
    compresses: bool,
) -> Vec<u8> {
    let mut writer = FileWriter::new(Target::Redis7, compresses);
    let mut payload = Vec::new();
    libraries.into_iter().for_each(|code| writer.put_function(code, &mut payload));
    seal_payload(&mut payload, VERSION_REDIS_7_0);
    payload
}

/// The code of each library in a payload of FUNCTION DUMP.
///
/// # Errors
/// The text for the client, without its code, as in Redis' `functions.c`.
pub fn read_functions(payload: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let (body, _) = open(payload).ok_or("DUMP payload version or checksum are wrong")?;
    let (mut input, mut libraries) = (Input::new(body), Vec::new());
    while !input.rest().is_empty() {
        match input.byte() {
            Ok(opcode::FUNCTION_2) => {
                let code = input.bytes().map_err(|_| "Failed loading library code")?;
                libraries.push(code.into_owned());
            }
            Ok(opcode::FUNCTION_PRE_GA) => return Err("Pre-GA function format not supported"),
            _ => return Err("given type is not a function"),
        }
    }
    Ok(libraries)
}
