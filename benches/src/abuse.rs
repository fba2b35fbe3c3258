//! Abuse: what large requests, large replies and clients that don't read cost a server, and the others it serves.
//!
//! Each row is one thing that a client may do, on a fresh server. CPU is the server's, memory what it has resident
//! beyond what it had before, at most and in the end. Another client asks for a small key meanwhile, every
//! millisecond: what it waits is what all others of that shard wait.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Mode};
use crate::histogram::Histogram;
use crate::meter::{cpu_time, resident_bytes};
use crate::request;
use crate::server::{Program, Server};
use crate::table::Table;

const MIB: usize = 1 << 20;
/// A large value.
const VALUE_BYTES: usize = 400 * MIB;
/// The longest string that all servers allow.
const STRING_BYTES_MAX: usize = 512 * MIB;
/// So many clients announce a value of that length and send a part of it.
const ANNOUNCERS: usize = 5;
const ANNOUNCED_PART_BYTES: usize = 10 * MIB;
/// Requests that are all sent before a reply is read.
const PIPELINED: usize = 5_000_000;
/// What is sent by a client that reads nothing, unless the server stops it before.
const UNREAD_BYTES: usize = 64 * MIB;
/// A connection that takes nothing for so long is not read from.
const STUCK: Duration = Duration::from_secs(5);
const PROBE_EVERY: Duration = Duration::from_millis(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long after all is gone the memory is looked at.
const SETTLED: Duration = Duration::from_secs(10);

/// Something a client may do.
struct Row {
    name: &'static str,
    /// Done before anything is measured.
    prepare: fn(&Server) -> io::Result<()>,
    act: fn(&Server) -> io::Result<Vec<TcpStream>>,
}

const ROWS: &[Row] = &[
    Row { name: "SET of 400 MiB", prepare: nothing, act: set_large },
    Row { name: "SET over 400 MiB", prepare: set_and_leave, act: set_large },
    Row { name: "GET of 400 MiB", prepare: set_and_leave, act: get_large },
    Row { name: "5 times 10 MiB of an announced 512 MiB", prepare: nothing, act: announce },
    Row { name: "SETRANGE to 512 MiB", prepare: small_string, act: set_range },
    Row { name: "SETBIT to 512 MiB", prepare: small_string, act: set_bit },
    Row { name: "SETRANGE from 256 to 512 MiB", prepare: half_string, act: set_range },
    Row { name: "5 million SET, then their replies", prepare: nothing, act: pipeline },
    Row { name: "GET of 16 KiB, never read", prepare: middling_string, act: never_read },
];

/// What one row showed.
struct Outcome {
    took: Duration,
    cpu: Duration,
    most_bytes: u64,
    end_bytes: u64,
    others: Histogram,
}

/// Measures all programs and returns the table.
pub(crate) fn report(bench: &Bench) -> io::Result<String> {
    let mut programs = bench.programs();
    programs.insert(1, bench.ours.with_shards(2)?);
    let mut table = Table::new(&[
        "a client's doing",
        "server",
        "s",
        "CPU s",
        "most MB",
        "MB behind it",
        "others p99.9 ms",
        "others max ms",
    ]);
    for row in ROWS {
        for program in &programs {
            let cells = match measure(bench, program, row) {
                Ok(outcome) => outcome.cells(),
                Err(error) => vec![error.to_string()],
            };
            let mut all = vec![row.name.to_owned(), program.name.clone()];
            all.extend(cells);
            all.resize(8, "-".to_owned());
            table.add(all);
        }
    }
    let mut after = Table::new(&["after all of it and FLUSHALL", "MB resident", "MB when fresh"]);
    for program in &programs {
        let (fresh, left) = all_at_once(bench, program)?;
        after.add(vec![program.name.clone(), megabytes(left), megabytes(fresh)]);
    }
    Ok(format!("{table}\n{after}"))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1e6)
}

impl Outcome {
    fn cells(&self) -> Vec<String> {
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        vec![
            format!("{:.2}", self.took.as_secs_f64()),
            format!("{:.2}", self.cpu.as_secs_f64()),
            megabytes(self.most_bytes),
            megabytes(self.end_bytes),
            ms(self.others.percentile(99.9)),
            ms(self.others.max()),
        ]
    }
}

fn measure(bench: &Bench, program: &Program, row: &Row) -> io::Result<Outcome> {
    eprintln!("{}: {}", row.name, program.name);
    let server = bench.start(program, Mode::Plain)?;
    server.client()?.ask(&["SET", "small", "value"])?;
    (row.prepare)(&server)?;
    let before = resident_bytes(server.pid())?;
    let is_over = AtomicBool::new(false);
    let most = AtomicU64::new(0);
    thread::scope(|scope| {
        let probe = scope.spawn(|| probe(&server, &is_over));
        let watch = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                most.fetch_max(resident_bytes(server.pid())?, Ordering::Relaxed);
                thread::sleep(LOOK_EVERY);
            }
            io::Result::Ok(())
        });
        let (cpu, start) = (cpu_time(server.pid())?, Instant::now());
        let act = || bench.at_generator(Mode::Plain, || (row.act)(&server));
        let done = act();
        let (took, cpu) = (start.elapsed(), cpu_time(server.pid()).map(|now| now - cpu));
        let end = resident_bytes(server.pid());
        is_over.store(true, Ordering::Relaxed);
        watch.join().expect("it does not panic")?;
        let others = probe.join().expect("it does not panic")?;
        drop(done?);
        let end_bytes = end?.saturating_sub(before);
        let most_bytes = most.load(Ordering::Relaxed).saturating_sub(before).max(end_bytes);
        Ok(Outcome { took, cpu: cpu?, most_bytes, end_bytes, others })
    })
}

/// All that large values do, on one server, then nothing: what it had and what it has.
fn all_at_once(bench: &Bench, program: &Program) -> io::Result<(u64, u64)> {
    let server = bench.start(program, Mode::Plain)?;
    let fresh = resident_bytes(server.pid())?;
    for act in [set_large, get_large, announce, set_bit, pipeline, never_read] {
        drop(act(&server)?);
    }
    server.client()?.ask(&["FLUSHALL"])?;
    thread::sleep(SETTLED);
    Ok((fresh, resident_bytes(server.pid())?))
}

/// Asks for a small key until it is over.
fn probe(server: &Server, is_over: &AtomicBool) -> io::Result<Histogram> {
    let mut client = server.client()?;
    let mut waits = Histogram::new();
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        client.ask(&["GET", "small"])?;
        waits.add(start.elapsed(), 1);
        thread::sleep(PROBE_EVERY);
    }
    Ok(waits)
}

fn nothing(_: &Server) -> io::Result<()> {
    Ok(())
}

fn set_and_leave(server: &Server) -> io::Result<()> {
    set_large(server).map(drop)
}

fn small_string(server: &Server) -> io::Result<()> {
    server.client()?.ask(&["SET", "text", "short"]).map(drop)
}

fn half_string(server: &Server) -> io::Result<()> {
    set(server, "text", STRING_BYTES_MAX / 2).map(drop)
}

fn middling_string(server: &Server) -> io::Result<()> {
    set(server, "middling", 16 << 10).map(drop)
}

fn connect(server: &Server) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server.address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn set(server: &Server, key: &str, bytes: usize) -> io::Result<TcpStream> {
    let mut stream = connect(server)?;
    let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${bytes}\r\n", key.len());
    stream.write_all(head.as_bytes())?;
    send_filler(&mut stream, bytes)?;
    stream.write_all(b"\r\n")?;
    expect(&mut stream, b"+OK\r\n")?;
    Ok(stream)
}

fn send_filler(stream: &mut TcpStream, mut bytes: usize) -> io::Result<()> {
    let piece = vec![b'x'; MIB];
    while bytes > 0 {
        let part = bytes.min(piece.len());
        stream.write_all(&piece[..part])?;
        bytes -= part;
    }
    Ok(())
}

fn expect(stream: &mut TcpStream, words: &[u8]) -> io::Result<()> {
    let mut got = vec![0; words.len()];
    stream.read_exact(&mut got)?;
    if got == words {
        return Ok(());
    }
    Err(io::Error::other(format!("answered {}", got.escape_ascii())))
}

fn set_large(server: &Server) -> io::Result<Vec<TcpStream>> {
    Ok(vec![set(server, "large", VALUE_BYTES)?])
}

fn get_large(server: &Server) -> io::Result<Vec<TcpStream>> {
    let mut stream = connect(server)?;
    stream.write_all(b"GET large\r\n")?;
    expect(&mut stream, format!("${VALUE_BYTES}\r\n").as_bytes())?;
    receive(&mut stream, VALUE_BYTES + 2)?;
    Ok(vec![stream])
}

fn receive(stream: &mut TcpStream, mut bytes: usize) -> io::Result<()> {
    let mut piece = vec![0; MIB];
    while bytes > 0 {
        let part = bytes.min(piece.len());
        match stream.read(&mut piece[..part])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => bytes -= got,
        }
    }
    Ok(())
}

fn announce(server: &Server) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for number in 0..ANNOUNCERS {
        let mut stream = connect(server)?;
        let head = format!("*3\r\n$3\r\nSET\r\n$1\r\n{number}\r\n${STRING_BYTES_MAX}\r\n");
        stream.write_all(head.as_bytes())?;
        send_filler(&mut stream, ANNOUNCED_PART_BYTES)?;
        streams.push(stream);
    }
    // Until the server has taken what was sent.
    let mut client = server.client()?;
    (0..20).try_for_each(|_| {
        thread::sleep(Duration::from_millis(50));
        client.ask(&["PING"]).map(drop)
    })?;
    Ok(streams)
}

fn set_range(server: &Server) -> io::Result<Vec<TcpStream>> {
    let offset = (STRING_BYTES_MAX - 1).to_string();
    server.client()?.ask(&["SETRANGE", "text", &offset, "x"])?;
    Ok(Vec::new())
}

fn set_bit(server: &Server) -> io::Result<Vec<TcpStream>> {
    let offset = (STRING_BYTES_MAX * 8 - 1).to_string();
    server.client()?.ask(&["SETBIT", "text", &offset, "1"])?;
    Ok(Vec::new())
}

fn pipeline(server: &Server) -> io::Result<Vec<TcpStream>> {
    let mut stream = connect(server)?;
    stream.set_write_timeout(Some(STUCK))?;
    let mut requests = Vec::new();
    for number in 0..PIPELINED {
        let key = (number % 1000).to_string();
        request::encode(&mut requests, &["SET", &key, &format!("{number:060}")]);
        if requests.len() >= MIB {
            stream.write_all(&requests)?;
            requests.clear();
        }
    }
    stream.write_all(&requests)?;
    receive(&mut stream, PIPELINED * b"+OK\r\n".len())?;
    Ok(vec![stream])
}

fn never_read(server: &Server) -> io::Result<Vec<TcpStream>> {
    middling_string(server)?;
    let mut stream = connect(server)?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    // Few requests: none of the servers has to stop reading, but only some keep all replies.
    let requests = b"GET middling\r\n".repeat(UNREAD_BYTES / (16 << 10));
    stream.write_all(&requests)?;
    thread::sleep(Duration::from_secs(1));
    Ok(vec![stream])
}
