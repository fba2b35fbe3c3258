//! Plot: a few workloads on all servers as one picture, bars of CPU time per request with Valkey's
//! as the unit. `scripts/bench plot` writes it where README shows it.
//!
//! The picture keeps to shapes and colours that read on light and dark pages alike.

use std::io;
use std::path::Path;

use svg::Document;
use svg::node::element::{Rectangle, Text, Title};

use crate::bench::{Bench, Mode};
use crate::rounds::{self, Comparison};
use crate::table::Table;
use crate::workload::Workload;

/// What is drawn: a label and the workload behind it.
const ROWS: &[(&str, &str)] = &[
    ("GET", "get-c50-p16"),
    ("SET", "set-c50-p16"),
    ("INCR", "incr-c50-p16"),
    ("MSET, 10 keys", "mset-c50-p16"),
    ("HSET", "hset-c50-p16"),
    ("LPUSH", "lpush-c50-p16"),
    ("SADD", "sadd-c50-p16"),
    ("ZADD", "zadd-c50-p16"),
    ("XADD", "xadd-c50-p16"),
    ("GET, unpiped", "get-c50-p1"),
];

const WIDTH: usize = 760;
const LABEL_WIDTH: usize = 130;
/// The longest bar, and the room for the number behind it.
const BAR_WIDTH: usize = WIDTH - LABEL_WIDTH - 70;
const BAR_HEIGHT: usize = 11;
const ROW_GAP: usize = 12;
const TOP: usize = 56;
/// Ours first, then the rivals in their order.
const COLOURS: &[&str] = &["#d9480f", "#868e96", "#adb5bd", "#ced4da"];
const TEXT_COLOUR: &str = "#7d858c";

/// Measures the rows, writes the picture to `path` and returns the numbers as a table.
///
/// Errors: a server that can't be started or asked, or a file that can't be written. A server that
/// can't run one of the workloads is left out of its row.
pub(crate) fn report(bench: &Bench, path: &Path) -> io::Result<String> {
    let programs = bench.programs();
    let names: Vec<&str> = ROWS.iter().map(|(_, name)| *name).collect();
    let workloads: Result<Vec<Workload>, String> =
        names.iter().map(|name| Workload::named(name)).collect();
    let workloads = workloads.map_err(io::Error::other)?;
    let mut comparisons = vec![];
    rounds::compare(bench, Mode::Saturated, &programs, &workloads, |one| comparisons.push(one))?;
    let servers: Vec<String> = programs.into_iter().map(|program| program.name).collect();
    let rows: Vec<Row> = ROWS
        .iter()
        .zip(&workloads)
        .filter_map(|((label, _), workload)| {
            let of_row = comparisons.iter().find(|one| one.workload == *workload)?;
            Some(Row { label, ratios: ratios(of_row) })
        })
        .collect();
    svg::save(path, &draw(&servers, &rows))?;
    Ok(table(&servers, &rows))
}

/// One row of the picture.
struct Row {
    label: &'static str,
    /// Of each server: its CPU time per request to Valkey's. None where it was not measured.
    ratios: Vec<Option<f64>>,
}

/// Valkey's place among the programs of a bench.
const VALKEY: usize = 1;

fn ratios(comparison: &Comparison) -> Vec<Option<f64>> {
    let base = &comparison.contestants[VALKEY];
    let ratio = |spread: crate::statistics::Spread| spread.middle;
    comparison.contestants.iter().map(|one| one.cpu_ratio(base).map(ratio)).collect()
}

fn draw(servers: &[String], rows: &[Row]) -> Document {
    let row_height = servers.len() * BAR_HEIGHT + ROW_GAP;
    let height = TOP + rows.len() * row_height;
    let longest = rows.iter().flat_map(|row| &row.ratios).flatten().copied().fold(1.0, f64::max);
    let heading = "CPU time per request, Valkey = 1 (shorter is better)";
    let mut picture = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("font-family", "sans-serif")
        .set("font-size", 12)
        .set("fill", TEXT_COLOUR)
        .add(Title::new(heading))
        .add(text(0, 16, heading).set("font-size", 14));
    let mut x = 0;
    for (server, colour) in servers.iter().zip(COLOURS.iter().cycle()) {
        picture = picture.add(bar(x, 28, 10.0, colour)).add(text(x + 16, 38, server));
        x += 32 + 7 * server.chars().count();
    }
    for (index, row) in rows.iter().enumerate() {
        let top = TOP + index * row_height;
        picture = picture.add(text(0, top + BAR_HEIGHT, row.label));
        for (place, (ratio, colour)) in row.ratios.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let Some(ratio) = ratio else { continue };
            let y = top + place * BAR_HEIGHT;
            let width = ratio / longest * BAR_WIDTH as f64;
            picture = picture.add(bar(LABEL_WIDTH, y, width, colour));
            let end = LABEL_WIDTH + width as usize + 6;
            picture = picture.add(text(end, y + BAR_HEIGHT - 2, &format!("{ratio:.2}")));
        }
    }
    picture
}

fn bar(x: usize, y: usize, width: f64, colour: &str) -> Rectangle {
    let width = format!("{width:.1}");
    Rectangle::new()
        .set("x", x)
        .set("y", y)
        .set("width", width)
        .set("height", BAR_HEIGHT - 1)
        .set("fill", colour)
}

fn text(x: usize, y: usize, words: &str) -> Text {
    Text::new(words).set("x", x).set("y", y)
}

fn table(servers: &[String], rows: &[Row]) -> String {
    let columns = ["CPU per request to Valkey's"].into_iter();
    let columns: Vec<&str> = columns.chain(servers.iter().map(String::as_str)).collect();
    let mut table = Table::new(&columns);
    for row in rows {
        let ratio = |ratio: &Option<f64>| ratio.map_or("-".to_owned(), |one| format!("{one:.2}"));
        let cells = [row.label.to_owned()].into_iter().chain(row.ratios.iter().map(ratio));
        table.add(cells.collect());
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_workload() {
        for (_, name) in ROWS {
            assert_eq!(Workload::named(name).unwrap().to_string(), *name);
        }
    }

    #[test]
    fn a_bar_for_each_measured_server() {
        let servers = ["Basalt".to_owned(), "Valkey & kin".to_owned()];
        let rows = [
            Row { label: "GET", ratios: vec![Some(0.5), Some(1.0)] },
            Row { label: "SET", ratios: vec![None, Some(1.0)] },
        ];
        let picture = draw(&servers, &rows).to_string();
        // Two in the legend, three in the rows.
        assert_eq!(picture.matches("<rect").count(), 5);
        assert!(picture.contains("Valkey &amp; kin"), "{picture}");
        let table = table(&servers, &rows);
        assert!(
            table.contains("| SET                         |      - |         1.00 |"),
            "{table}"
        );
    }
}
