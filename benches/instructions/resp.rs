//! Instructions per request parsed and per reply written, in pipelines of sixteen.

use std::hint::black_box;

use basalt_resp::{ParseLimits, Parsed, Protocol, Reply, encode_request, parse};
use gungraun::{library_benchmark, library_benchmark_group, main};

/// The number of requests or replies per benchmark; one costs a sixteenth of the result.
const BATCH: usize = 16;

fn gets() -> Vec<u8> {
    requests(|key| vec![b"GET".to_vec(), key])
}

fn sets(value_bytes: usize) -> Vec<u8> {
    requests(|key| vec![b"SET".to_vec(), key, vec![b'x'; value_bytes]])
}

fn msets() -> Vec<u8> {
    requests(|key| {
        let pairs = (0..10).flat_map(|_| [key.clone(), b"xxx".to_vec()]);
        [b"MSET".to_vec()].into_iter().chain(pairs).collect()
    })
}

fn requests(args: impl Fn(Vec<u8>) -> Vec<Vec<u8>>) -> Vec<u8> {
    let mut input = Vec::new();
    for index in 0..BATCH {
        encode_request(&args(format!("key:{index:012}").into_bytes()), &mut input);
    }
    input
}

// Parses as a connection does: one request after the other from one buffer.
#[library_benchmark]
#[bench::get(gets())]
#[bench::set_3_bytes(sets(3))]
#[bench::set_512_bytes(sets(512))]
#[bench::mset_10_keys(msets())]
#[bench::inline(b"PING\r\n".repeat(BATCH))]
fn parse_16(input: Vec<u8>) -> usize {
    let (mut rest, mut args) = (&input[..], Vec::new());
    let (mut partial, limits) = (None, ParseLimits::default());
    while let Ok(Parsed::Request { bytes }) =
        parse(black_box(rest), &mut partial, &mut args, &limits)
    {
        rest = &rest[bytes..];
    }
    assert!(rest.is_empty(), "every request was whole");
    args.len()
}

/// An output with spare capacity, as that of a busy connection.
fn output() -> Vec<u8> {
    Vec::with_capacity(1 << 20)
}

#[library_benchmark]
#[bench::in_place(output())]
fn reply_ok_16(mut out: Vec<u8>) -> Vec<u8> {
    for _ in 0..BATCH {
        Reply::new(black_box(&mut out), Protocol::Resp2).ok();
    }
    out
}

#[library_benchmark]
#[bench::in_place(output())]
fn reply_integer_16(mut out: Vec<u8>) -> Vec<u8> {
    for _ in 0..BATCH {
        Reply::new(black_box(&mut out), Protocol::Resp2).integer(black_box(1_234_567));
    }
    out
}

#[library_benchmark]
#[bench::of_3_bytes(output(), &[b'x'; 3])]
#[bench::of_512_bytes(output(), &[b'x'; 512])]
#[bench::of_16_kilobytes(output(), &[b'x'; 16384])]
fn reply_bulk_16(mut out: Vec<u8>, value: &[u8]) -> Vec<u8> {
    for _ in 0..BATCH {
        Reply::new(black_box(&mut out), Protocol::Resp2).bulk(black_box(value));
    }
    out
}

library_benchmark_group!(name = requests_in, benchmarks = parse_16);
library_benchmark_group!(
    name = replies_out,
    benchmarks = [reply_ok_16, reply_integer_16, reply_bulk_16]
);
main!(library_benchmark_groups = [requests_in, replies_out]);
