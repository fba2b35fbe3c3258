//! Growth: a server that gets twenty million keys. How long was its longest turn meanwhile?
//!
//! A table that grows in one go would stand still for a second. The server counts its turns itself
//! (INFO's `loop_turn_max_us`), and it runs undisturbed, since a turn that another process of the
//! machine interrupted looks long too.

use std::io;

use crate::lab::{Lab, Mode};
use crate::request;
use crate::server::Program;

pub(crate) const NAME: &str = "growth";
const KEYS: u64 = 20_000_000;
/// The target.
pub(crate) const TURN_MAX_US: f64 = 1000.0;

/// The longest turn in µs, of a fresh server.
pub(crate) fn measure(lab: &Lab, program: &Program) -> io::Result<f64> {
    eprintln!("{NAME}: {}", program.name);
    let server = lab.start(program, Mode::Undisturbed)?;
    let mut client = server.client()?;
    client.ask(&["CONFIG", "RESETSTAT"])?;
    client.load(KEYS, |out, index| {
        request::encode(out, &["SET", &request::key("key:", index), "0123456789"]);
    })?;
    let turn_us = client.info_field("stats", "loop_turn_max_us")?;
    let turn_us = turn_us.ok_or_else(|| io::Error::other("it doesn't tell loop_turn_max_us"))?;
    Ok(turn_us as f64)
}
