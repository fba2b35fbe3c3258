//! The server's loop with the toy engine, to measure what the loop alone costs:
//!
//!   cargo run --release -p basalt-server --example toy -- <port> <shards> [<spin-us>]

#[path = "../tests/toy/mod.rs"]
mod toy;

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_server::{Statistics, listen, serve};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).and_then(|text| text.parse::<u32>().ok());
    let config = Config {
        port: number(0).unwrap_or(17500).try_into()?,
        shards: number(1).unwrap_or(1).try_into()?,
        spin_us: number(2).unwrap_or(0),
        ..Config::default()
    };
    let listeners = listen(&config)?;
    serve(&Arc::new(config), Statistics::default(), listeners, toy::Toy::new)?.serving.join()?;
    Ok(())
}
