//! Memory: how much a server's resident memory grows per item, for a table of data shapes.
//!
//! Every point is a fresh server, loaded through pipelined requests as by a client, and then left
//! idle until its memory is stable. Keys and members are distinct and look random.

use std::io;

use crate::bench::{Bench, Mode};
use crate::datasets::{letters, scattered};
use crate::meter;
use crate::request;
use crate::server::Program;
use crate::statistics::Spread;
use crate::table::Table;
use crate::workload;

/// Requests before the data, so that a server's buffers are touched before the measurement: they
/// are not part of an item.
const WARM_UP_REQUESTS: u64 = 150_000;

const ONE_AND_TWO_MILLION: &[u64] = &[1_000_000, 2_000_000];

/// A data shape, and the target for an item of it.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    what: &'static str,
    /// The bytes of an item that are the user's own.
    raw_bytes: u64,
    /// The numbers of items to measure.
    points: &'static [u64],
    /// How the bytes per item of all points are combined.
    over_points: fn(&[f64]) -> Spread,
    /// A request that any server that supports the shape answers without an error.
    needs: &'static [&'static str],
    /// The arguments that store the `index`th item.
    store: fn(u64) -> Vec<String>,
    pub(crate) to_reach: Option<f64>,
}

pub(crate) const SHAPES: &[Shape] = &[
    Shape {
        name: "string-10",
        what: "16 B key, 10 B value; mean of 1, 1.5, 2, 3, 4 million",
        raw_bytes: 26,
        points: &[1_000_000, 1_500_000, 2_000_000, 3_000_000, 4_000_000],
        over_points: Spread::of_mean,
        needs: &["SET", "needs", "it"],
        store: |index| vec!["SET".to_owned(), letters(index, 16), letters(!index, 10)],
        to_reach: Some(48.0),
    },
    Shape {
        name: "string-10-ttl",
        what: "the same with EX 86400, 2 million",
        raw_bytes: 34,
        points: &[2_000_000],
        over_points: Spread::of_mean,
        needs: &["SET", "needs", "it", "EX", "1"],
        store: |index| {
            let args = ["SET", &letters(index, 16), &letters(!index, 10), "EX", "86400"];
            args.map(str::to_owned).to_vec()
        },
        to_reach: Some(60.0),
    },
    Shape {
        name: "string-100",
        what: "16 B key, 100 B value, 1 million",
        raw_bytes: 116,
        points: &[1_000_000],
        over_points: Spread::of_mean,
        needs: &["SET", "needs", "it"],
        store: |index| vec!["SET".to_owned(), letters(index, 16), letters(!index, 10).repeat(10)],
        to_reach: Some(140.0),
    },
    Shape {
        name: "hash-small",
        what: "hash of 10 fields, f0 to f9 with val######, 300,000",
        raw_bytes: 126,
        points: &[300_000],
        over_points: Spread::of_mean,
        needs: &["HSET", "needs", "a", "b"],
        store: |index| {
            let value = |field| format!("val{:06}", scattered(index * 10 + field) % 1_000_000);
            let fields = (0..10).flat_map(|field| [format!("f{field}"), value(field)]);
            ["HSET".to_owned(), letters(index, 16)].into_iter().chain(fields).collect()
        },
        to_reach: Some(190.0),
    },
    Shape {
        name: "zset-big",
        what: "member of 17 B in one sorted set; worse of 1, 2 million",
        raw_bytes: 25,
        points: ONE_AND_TWO_MILLION,
        over_points: Spread::of_worst,
        needs: &["ZADD", "needs", "1", "a"],
        store: |index| {
            let score = (scattered(index) % 1_000_000_000).to_string();
            vec!["ZADD".to_owned(), "big".to_owned(), score, letters(index, 17)]
        },
        to_reach: Some(50.0),
    },
    Shape {
        name: "hash-big",
        what: "field of 16 + 16 B in one hash; worse of 1, 2 million",
        raw_bytes: 32,
        points: ONE_AND_TWO_MILLION,
        over_points: Spread::of_worst,
        needs: &["HSET", "needs", "a", "b"],
        store: |index| {
            vec!["HSET".to_owned(), "big".to_owned(), letters(index, 16), letters(!index, 16)]
        },
        to_reach: Some(54.0),
    },
    Shape {
        name: "set-big",
        what: "member of 17 B in one set; worse of 1, 2 million",
        raw_bytes: 17,
        points: ONE_AND_TWO_MILLION,
        over_points: Spread::of_worst,
        needs: &["SADD", "needs", "a"],
        store: |index| vec!["SADD".to_owned(), "big".to_owned(), letters(index, 17)],
        to_reach: Some(28.0),
    },
    Shape {
        name: "list",
        what: "element of 18 B in one list, 2 million",
        raw_bytes: 18,
        points: &[2_000_000],
        over_points: Spread::of_mean,
        needs: &["RPUSH", "needs", "a"],
        store: |index| vec!["RPUSH".to_owned(), "big".to_owned(), letters(index, 18)],
        to_reach: Some(21.0),
    },
];

/// The shapes whose names match one of the patterns.
pub(crate) fn chosen(patterns: &[String]) -> Vec<&'static Shape> {
    let fits = |shape: &&Shape| patterns.iter().any(|it| workload::matches(it, shape.name));
    SHAPES.iter().filter(fits).collect()
}

impl Shape {
    pub(crate) fn title(&self) -> String {
        format!("{}: {}", self.name, self.what)
    }

    /// Bytes per item of one server at every point, or why it does not support the shape.
    pub(crate) fn measure(
        &self,
        bench: &Bench,
        program: &Program,
    ) -> io::Result<Result<Spread, String>> {
        let mut bytes_per_item = vec![];
        for &items in self.points {
            let server = bench.start(program, Mode::Plain)?;
            let mut client = server.client()?;
            if let crate::client::Reply::Error(error) = client.ask(self.needs)? {
                return Ok(Err(error));
            }
            client.ask(&["DEL", "needs"])?;
            client.load(WARM_UP_REQUESTS, |out, _| {
                request::encode(out, &["GET", "absent"]);
            })?;
            let before = meter::resident_bytes(server.pid())?;
            client.load(items, |out, index| request::encode(out, &(self.store)(index)))?;
            let grown = meter::settled_bytes(server.pid())?.saturating_sub(before);
            bytes_per_item.push(grown as f64 / items as f64);
        }
        Ok(Ok((self.over_points)(&bytes_per_item)))
    }
}

/// Measures the shapes on all programs and returns the table of bytes per item.
pub(crate) fn report(bench: &Bench, shapes: &[&Shape]) -> io::Result<String> {
    let programs = bench.programs();
    let mut columns = vec!["bytes per item (RSS growth)", "raw"];
    columns.extend(programs.iter().map(|program| program.name.as_str()));
    let mut table = Table::new(&columns);
    let mut notes = String::new();
    for shape in shapes {
        let mut cells = vec![shape.title(), shape.raw_bytes.to_string()];
        for program in &programs {
            eprintln!("{}: {}", shape.name, program.name);
            cells.push(match shape.measure(bench, program)? {
                Ok(bytes) => bytes.text(1),
                Err(error) => {
                    notes += &format!("{} has no {}: {error}\n", program.name, shape.name);
                    "-".to_owned()
                }
            });
        }
        table.add(cells);
    }
    Ok(format!("{table}\n{notes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_are_what_the_requests_carry() {
        for shape in SHAPES {
            let args = (shape.store)(12345);
            let user = |arg: &&String| *arg != "big";
            let carried: usize = match shape.name {
                "string-10-ttl" => args[1].len() + args[2].len() + 8,
                "zset-big" => args[3].len() + 8,
                _ => args[1..].iter().filter(user).map(String::len).sum(),
            };
            assert_eq!(carried as u64, shape.raw_bytes, "{}", shape.name);
        }
    }
}
