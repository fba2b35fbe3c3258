//! Engine: requests drawn from the command table, sent to a whole simulated server.

use basalt_commands::config::{Config, Kind, PARAMETERS, Parameter};
use basalt_commands::{Argument, Command, table};
use basalt_resp::{Value, decode, encode_request};

use super::Draw;
use crate::simulation::{ClientId, Simulation};

const WORDS: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"2",
    b"10",
    b"1.5",
    b"-inf",
    b"nan",
    b"a",
    b"b",
    b"c",
    b"k{a}",
    b"l{a}",
    b"*",
    b"-",
    b"+",
    b"0-1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"100",
    b"yes",
    b"no",
    b"[a",
    b"(1",
    b"u8",
    b"#1",
    b"left",
    b"right",
    b"default",
    b"\0\xff\r\n",
];

/// Commands about time or the process rather than data would only slow this down.
fn is_left_out(name: &str) -> bool {
    matches!(name, "shutdown" | "monitor" | "debug" | "lolwut" | "pfselftest" | "client|pause")
}

pub(super) fn rows() -> Vec<&'static Command> {
    table::commands()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .filter(|command| !is_left_out(command.name))
        .collect()
}

fn tokens(arguments: &'static [Argument], found: &mut Vec<&'static [u8]>) {
    for argument in arguments {
        if !argument.token.is_empty() {
            found.push(argument.token.as_bytes());
        }
        tokens(argument.arguments, found);
    }
}

/// A request for a row: mostly with a valid number of arguments, some of them keywords that it has.
pub(super) fn request(row: &'static Command, draw: &mut Draw<'_>) -> Vec<Vec<u8>> {
    const ARGS_MAX: usize = 8;
    let mut known = Vec::new();
    tokens(row.arguments, &mut known);
    let mut args: Vec<Vec<u8>> = row.name.split('|').map(|word| word.into()).collect();
    let more = if row.arity < 0 { draw.below(ARGS_MAX) } else { 0 };
    let wanted = row.arity_min() + more;
    while args.len() < wanted {
        args.push(match draw.below(4) {
            0 if !known.is_empty() => draw.pick(&known).to_vec(),
            1 => draw.bytes(20).to_vec(),
            _ => draw.pick(WORDS).to_vec(),
        });
    }
    args
}

/// All drawn requests are answered, in order, and nothing is left behind.
pub(super) fn run(data: &[u8]) {
    let mut draw = Draw::new(data);
    let config = Config { proto_max_bulk_len: 1 << 20, ..Config::default() };
    serve(&mut draw, config);
}

/// The same on a server with random settings: any valid ones, mostly extreme ones.
pub(super) fn run_with_settings(data: &[u8]) {
    const SETTINGS_MAX: usize = 12;
    let mut draw = Draw::new(data);
    let mut config = Config { proto_max_bulk_len: 1 << 20, ..Config::default() };
    for _ in 0..=draw.below(SETTINGS_MAX) {
        let parameter = &PARAMETERS[draw.below(PARAMETERS.len().max(257)) % PARAMETERS.len()];
        if !is_settled_elsewhere(parameter) {
            let value = extreme_value(parameter, &mut draw);
            // A rejected value changes nothing.
            if let Ok(next) = config.set(&[(parameter.name.as_bytes(), &value)], true) {
                config = next;
            }
        }
    }
    serve(&mut draw, config);
}

/// Settings without use in a simulation, or which only make it run out of memory or time.
fn is_settled_elsewhere(parameter: &Parameter) -> bool {
    // Without its limit SETRANGE fills all memory. With a password every reply is an error.
    matches!(parameter.name, "proto-max-bulk-len" | "requirepass")
}

/// A value for a parameter: a limit of its range, a neighbour of one, or a word of some parameter.
fn extreme_value(parameter: &Parameter, draw: &mut Draw<'_>) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "yes",
        "no",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "-2147483648",
        "2147483647",
        "18446744073709551615",
        "normal 1 1 9223372036854775807",
        "normal 9223372036854775807 9223372036854775807 9223372036854775807",
        "normal 0 0 0 pubsub 1 1 1",
        "0 100 99.99999",
        "KEA",
        "100%",
        "",
    ];
    match parameter.kind {
        Kind::Integer { min, max } | Kind::Clamped { min, max } => {
            draw.pick(&[min, max, min.saturating_add(1), max - 1, min.midpoint(max)]).to_string()
        }
        Kind::Memory { min, max } => {
            draw.pick(&[min, max, min + 1, max - 1, min.midpoint(max)]).to_string()
        }
        Kind::OneOf(names) | Kind::SomeOf(names) => draw.pick(names).to_owned(),
        _ => draw.pick(WORDS).to_owned(),
    }
    .into_bytes()
}

fn serve(draw: &mut Draw<'_>, config: Config) {
    const REQUESTS_MAX: usize = 60;
    let rows = rows();
    let shard_count = 1 + draw.below(3);
    let mut simulation = Simulation::new(shard_count, config, 7);
    simulation.fragments = draw.below(2) == 0;
    let mut clients = [simulation.connect(0), simulation.connect(1)];
    for _ in 0..REQUESTS_MAX {
        if draw.is_over() {
            break;
        }
        let which = draw.below(clients.len());
        let request = request(draw.pick(&rows), draw);
        let mut bytes = Vec::new();
        encode_request(&request, &mut bytes);
        simulation.send(clients[which], &bytes);
        if draw.below(3) == 0 {
            simulation.settle();
            read_all(&mut simulation, clients[which]);
        }
        if draw.below(10) == 0 {
            simulation.advance_ms(1000 * draw.byte() as u64);
        }
        if draw.below(20) == 0 {
            simulation.disconnect(clients[which]);
            clients[which] = simulation.connect(draw.below(shard_count));
        }
    }
    simulation.settle();
    for client in clients {
        read_all(&mut simulation, client);
        simulation.disconnect(client);
    }
    simulation.settle();
    for core in 0..shard_count {
        assert!(simulation.core(core).is_at_rest(), "something is left behind on core {core}");
        simulation.core(core).keyspace().verify();
    }
}

/// The complete replies that a client has received.
fn read_all(simulation: &mut Simulation, client: ClientId) {
    let received = simulation.take_received(client);
    let mut at = 0;
    while at < received.len() {
        match decode(&received[at..]) {
            Ok(Some((_, len))) => at += len,
            other => panic!("{other:?} at {at} of {}", received.escape_ascii()),
        }
    }
}

/// Sends a request and reads the reply.
pub(super) fn ask(simulation: &mut Simulation, client: ClientId, args: &[&[u8]]) -> Value {
    let mut bytes = Vec::new();
    encode_request(args, &mut bytes);
    simulation.send(client, &bytes);
    simulation.settle();
    let received = simulation.take_received(client);
    let (value, len) = decode(&received).expect("a reply").expect("a whole reply");
    assert_eq!(len, received.len(), "there is one reply to one request");
    value
}
