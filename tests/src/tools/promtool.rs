//! promtool, Prometheus' own checker of metrics pages (Debian's package `prometheus`).

use super::{cache, run};
use crate::process::metrics::Watched;
use basalt_testkit::process::{Launch, Program};
use libtest_mimic::Trial;
use std::path::Path;

pub(super) fn trials() -> Vec<Trial> {
    let tool = cache().join("prometheus/usr/bin/promtool");
    let absent = !tool.is_file();
    let check = move || {
        check_metrics(&tool);
        Ok(())
    };
    vec![Trial::test("tool::promtool_check_metrics@ours", check).with_ignored_flag(absent)]
}

/// Names, units, types and the format of the page, with every kind of line on it.
fn check_metrics(tool: &Path) {
    let watched = Watched::start(&Launch::new(Program::Ours).args(["--shards", "3"]));
    let mut client = watched.server.connect();
    for args in [
        &["MSET", "a", "1", "b", "2", "c", "3"][..],
        &["SET", "d", "1", "EX", "100"],
        &["INCR", "nothing", "to"],
        &["LPUSH", "a", "x"],
        &["CONFIG", "GET", "*"],
        &["FLUSHALL"],
    ] {
        client.execute(args);
    }
    let page = watched.get("/metrics");
    assert_eq!(page.status, 200);
    let said = run(tool, 30, &["check", "metrics"], page.body.as_bytes());
    assert!(said.success && said.err.is_empty(), "{}{}", said.out, said.err);
}
