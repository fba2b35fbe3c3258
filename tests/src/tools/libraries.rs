//! Client libraries of other languages: redis-py and ioredis, each with a script in `tests/tools`.

use super::{SERVERS, cache, run, trial};
use basalt_testkit::process::Server;
use libtest_mimic::Trial;
use std::path::Path;

/// LIMIT: seconds for one script.
const SECONDS_MAX: u32 = 60;

pub(super) fn trials() -> Vec<Trial> {
    let cache = cache();
    let python = cache.join("python/bin/python");
    let modules = cache.join("node_modules");
    SERVERS
        .into_iter()
        .flat_map(|program| {
            let (python, modules) = (python.clone(), modules.clone());
            [
                trial("redis_py", program, python.is_file(), move |server| {
                    script(&python, &[], "redis_py.py", server);
                }),
                trial("ioredis", program, modules.join("ioredis").is_dir(), move |server| {
                    let modules = modules.to_string_lossy().into_owned();
                    script(Path::new("node"), &[&modules], "ioredis.js", server);
                }),
            ]
        })
        .collect()
}

fn script(interpreter: &Path, extra: &[&str], name: &str, server: &Server) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name);
    let (script, port) = (script.to_string_lossy().into_owned(), server.port().to_string());
    let said = run(interpreter, SECONDS_MAX, &[&[script.as_str(), &port], extra].concat(), b"");
    assert!(said.success && said.out.ends_with("all good\n"), "{}{}", said.out, said.err);
}
