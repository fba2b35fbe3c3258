//! Arguments of CLIENT and CONFIG: whatever they are, the server keeps running and its replies are
//! consistent.

use basalt_commands::config::{Config, Extent, PARAMETERS, rewrite};
use basalt_resp::{Value, encode_request};

use super::Draw;
use super::engine::{ask, request, rows};
use crate::simulation::Simulation;

/// Some requests of CLIENT; another client gets replies, and sees the right clients.
pub(super) fn client(data: &[u8]) {
    let mut draw = Draw::new(data);
    let rows: Vec<_> = rows().into_iter().filter(|row| row.name.starts_with("client|")).collect();
    let mut simulation = Simulation::new(2, Config::default(), 1);
    let (one, other) = (simulation.connect(0), simulation.connect(1));
    while !draw.is_over() {
        let mut bytes = Vec::new();
        encode_request(&request(draw.pick(&rows), &mut draw), &mut bytes);
        simulation.send(one, &bytes);
        simulation.settle();
        if simulation.is_connected(other) {
            let list = ask(&mut simulation, other, &[b"CLIENT", b"LIST"]);
            let lines = list.as_bytes().expect("it is a text");
            let count = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            let connected = 1 + usize::from(simulation.is_connected(one));
            assert_eq!(count, connected, "{}", lines.escape_ascii());
        }
        if !simulation.is_connected(one) {
            break;
        }
    }
    let third = simulation.connect(0);
    assert_eq!(ask(&mut simulation, third, &[b"PING"]), Value::simple("PONG"));
}

/// Some pairs for CONFIG SET: each is refused, or CONFIG GET returns it and a configuration file
/// reproduces it.
pub(super) fn config(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"",
        b"yes",
        b"no",
        b"0",
        b"1",
        b"-1",
        b"100",
        b"1kb",
        b"2gb",
        b"10%",
        b"60 1",
        b"normal 1 2 3",
        b"KEA",
        b"127.0.0.1 -::1",
        b"* -::*",
        b"50 99.9",
        b"allkeys-lfu",
        b"notice",
        b"now save",
        b"\xff",
        b"default",
    ];
    let mut draw = Draw::new(data);
    let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
    while !draw.is_over() {
        let name = match draw.below(12) {
            0 => draw.bytes(12),
            _ => {
                PARAMETERS[draw.below(PARAMETERS.len().max(257)) % PARAMETERS.len()].name.as_bytes()
            }
        };
        let value = if draw.below(2) == 0 { draw.pick(WORDS) } else { draw.bytes(20) };
        pairs.push((name, value));
    }
    let before = Config::default();
    let Ok(config) = before.set(&pairs, true) else { return };
    for (name, _) in &pairs {
        assert!(!config.get(&[name]).is_empty(), "what was set can be asked for");
    }
    for extent in [Extent::Changed, Extent::All] {
        let text = rewrite(b"", &config, extent);
        let again = Config::parse_file(&text, "rewritten", &mut |_| Ok(Vec::new()));
        let (again, _) = again.expect("because a rewritten configuration can be loaded");
        assert!(again == config, "{}", String::from_utf8_lossy(&text));
    }
}
