//! Sketches: HyperLogLogs with untrusted bytes, stored by SET.

use basalt_commands::config::Config;
use basalt_resp::Value;

use super::engine::ask;
use crate::simulation::Simulation;

/// A valid header, up to the byte of the encoding.
const MAGIC: &[u8] = b"HYLL";

/// The input's first byte decides whether the bytes get a valid header.
pub(super) fn run(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let payload = match choice % 4 {
        0 => rest.to_vec(),
        1 => [MAGIC, rest].concat(),
        encoding => [MAGIC, &[encoding - 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80], rest].concat(),
    };
    let mut simulation = Simulation::new(1, Config::default(), 1);
    let client = simulation.connect(0);
    for request in [
        &[&b"PFCOUNT"[..], b"k"][..],
        &[b"PFADD", b"k", b"some", b"more"],
        &[b"PFMERGE", b"merged", b"k"],
        &[b"PFCOUNT", b"k", b"merged"],
        &[b"PFDEBUG", b"DECODE", b"k"],
        &[b"PFDEBUG", b"GETREG", b"k"],
        &[b"PFDEBUG", b"TODENSE", b"k"],
        &[b"PFDEBUG", b"ENCODING", b"k"],
    ] {
        ask(&mut simulation, client, &[b"SET", b"k", &payload]);
        if let Value::Error(text) = ask(&mut simulation, client, request) {
            let known: [&[u8]; 3] =
                [b"WRONGTYPE Key is not", b"INVALIDOBJ ", b"ERR HLL encoding is not sparse"];
            let is_known = known.iter().any(|known| text.starts_with(known));
            assert!(is_known, "{request:?}: {}", text.escape_ascii());
        }
    }
}

pub(super) fn corpus() -> Vec<Vec<u8>> {
    let mut simulation = Simulation::new(1, Config::default(), 1);
    let client = simulation.connect(0);
    let mut corpus = vec![b"\0no sketch".to_vec(), b"\x01\x01\0\0\0".to_vec()];
    for count in [0, 1, 5, 60, 500] {
        ask(&mut simulation, client, &[b"DEL", b"s"]);
        ask(&mut simulation, client, &[b"PFADD", b"s"]);
        for number in 0..count {
            let element = format!("element:{number}");
            ask(&mut simulation, client, &[b"PFADD", b"s", element.as_bytes()]);
        }
        for densely in [false, true] {
            if densely {
                ask(&mut simulation, client, &[b"PFDEBUG", b"TODENSE", b"s"]);
            }
            let value = ask(&mut simulation, client, &[b"GET", b"s"]);
            let bytes = value.as_bytes().expect("because the key holds a text");
            corpus.push([b"\0", bytes].concat());
        }
    }
    corpus
}
