//! Client libraries: redis-py, Celery, ioredis and Socket.IO, with scripts in `tests/tools`, and the `redis` crate, sync
//! and async, with a program there that is no part of our workspace.

use super::{SERVERS, Said, cache, run, trial};
use basalt_testkit::process::Server;
use libtest_mimic::Trial;
use std::path::Path;

/// LIMIT: seconds for one script.
const SECONDS_MAX: u32 = 180;

pub(super) fn trials() -> Vec<Trial> {
    let cache = cache();
    let python = cache.join("python/bin/python");
    let modules = cache.join("node_modules");
    let has_celery = cache.join("python/bin/celery").is_file();
    let redis_rs = cache.join("redis_rs/debug/redis-rs");
    SERVERS
        .into_iter()
        .flat_map(|program| {
            let (python, modules, redis_rs) = (python.clone(), modules.clone(), redis_rs.clone());
            [
                trial("redis_rs", program, redis_rs.is_file(), move |server| {
                    is_content(&run(&redis_rs, SECONDS_MAX, &[&server.port().to_string()], b""));
                }),
                trial("redis_py", program, python.is_file(), {
                    let python = python.clone();
                    move |server| script(&python, &[], "redis_py.py", server)
                }),
                trial("redis_py_pubsub", program, python.is_file(), {
                    let python = python.clone();
                    move |server| script(&python, &[], "redis_py_pubsub.py", server)
                }),
                trial("celery", program, has_celery, {
                    let python = python.clone();
                    move |server| script(&python, &[], "celery_broker.py", server)
                }),
                trial("ioredis", program, modules.join("ioredis").is_dir(), {
                    let modules = modules.to_string_lossy().into_owned();
                    move |server| script(Path::new("node"), &[&modules], "ioredis.js", server)
                }),
                trial("ioredis_pubsub", program, modules.join("socket.io").is_dir(), {
                    let modules = modules.to_string_lossy().into_owned();
                    move |server| {
                        script(Path::new("node"), &[&modules], "ioredis_pubsub.js", server);
                    }
                }),
            ]
        })
        .collect()
}

fn script(interpreter: &Path, extra: &[&str], name: &str, server: &Server) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name);
    let (script, port) = (script.to_string_lossy().into_owned(), server.port().to_string());
    is_content(&run(interpreter, SECONDS_MAX, &[&[script.as_str(), &port], extra].concat(), b""));
}

fn is_content(said: &Said) {
    assert!(said.success && said.out.ends_with("all good\n"), "{}{}", said.out, said.err);
}
