//! Instructions of a turn: sixteen requests of one connection, from received bytes to bytes to
//! send, on one shard and on two (`_2`: the turns of both shards until all is answered).

use std::sync::Arc;

use basalt_commands::config::{Config, Extent, LogLevel};
use basalt_engine::World;
use basalt_engine::{
    Core, CoreSetup, Message, Now, Peer, ProcessStats, SessionId, ShutdownRequest,
};
use basalt_keyspace::ShardId;
use basalt_resp::encode_request;
use gungraun::{library_benchmark, library_benchmark_group, main};

/// The server's allocator, since it does a large part of a SET.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of requests per turn; one costs a sixteenth of the result.
const BATCH: usize = 16;
/// Warm-up turns before the counted one.
const TURNS_BEFORE: u64 = 1000;

/// A world in which only time passes.
struct Still {
    monotonic_us: u64,
    /// Messages to the other shard, if there is one.
    sent: Vec<Message>,
    /// An output buffer to be used again, as the server has some.
    spare: Vec<u8>,
}

impl World for Still {
    fn prepare_rewrite(&mut self, _: basalt_engine::RewritePlan) {}
    fn begin_save(&mut self, _: basalt_engine::SaveStart) {}
    fn save_chunk(&mut self, _: u64, _: Vec<u8>) -> Result<(), Vec<u8>> {
        Ok(())
    }
    fn finish_save(&mut self, _: u64) -> bool {
        true
    }
    fn cancel_save(&mut self, _: u64, _: basalt_engine::SaveEnd) {}
    fn save_progress(&mut self) -> basalt_engine::SaveProgress {
        basalt_engine::SaveProgress::default()
    }
    fn begin_load(&mut self, _: basalt_engine::LoadStart) {}
    fn next_load(&mut self) -> basalt_engine::LoadStep {
        basalt_engine::LoadStep::End
    }
    fn send(&mut self, _: ShardId, message: Message) {
        self.sent.push(message);
    }
    fn random(&mut self) -> u64 {
        4
    }
    fn monotonic_us(&mut self) -> u64 {
        self.monotonic_us += 1;
        self.monotonic_us
    }
    fn monotonic_ns(&mut self) -> u64 {
        self.monotonic_us() * 1000
    }
    fn process(&mut self) -> ProcessStats {
        ProcessStats::default()
    }
    fn publish_used(&mut self, _: basalt_engine::Published) {}
    fn used_by_others(&mut self) -> basalt_engine::Published {
        basalt_engine::Published::default()
    }
    fn memory_bounds(&mut self) -> basalt_engine::MemoryBounds {
        basalt_engine::MemoryBounds::default()
    }
    fn reset_process_counters(&mut self) {}
    fn shutdown(&mut self, _: ShutdownRequest) {}
    fn abort_shutdown(&mut self) -> bool {
        false
    }
    fn rewrite_config(&mut self, _: &Config, _: Extent) -> Result<(), String> {
        Ok(())
    }
    fn config_changed(&mut self, _: &Arc<Config>) {}
    fn stall_until(&mut self, _: u64) {}
    fn log(&mut self, _: LogLevel, _: &str) {}
    fn journal_append(&mut self, _: Vec<u8>, _: bool) {}
    fn journal_rewrite(&mut self, _: Vec<u8>) {}
    fn journal_sync(&mut self) {}
    fn journal_next_file(&mut self, _: u64) {}
}

struct Scene {
    cores: Vec<Core>,
    worlds: Vec<Still>,
    /// Of the first core.
    session: SessionId,
    input: Vec<u8>,
}

/// A connection that sends these sixteen requests, made of a key each, to so many shards.
fn scene(shards: usize, settings: &[(&str, &str)], request: fn(&[u8]) -> Vec<Vec<u8>>) -> Scene {
    let now = Now { unix_ms: 1_000_000, monotonic_us: 0 };
    let settings: Vec<(&[u8], &[u8])> =
        settings.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let config = Config::default().set(&settings, true).expect("because these settings are right");
    let config = Arc::new(config);
    let core = |index| {
        Core::new(CoreSetup {
            shard: ShardId(index as u16),
            shard_count: shards,
            config: Arc::clone(&config),
            hash_seed: 1,
            epoch: 1,
            random_seed: 1,
            now,
            stopwatch: Box::new(|| 0),
            apply: None,
        })
    };
    let mut cores: Vec<Core> = (0..shards).map(core).collect();
    let peer = Peer::Unix { path: String::new() };
    let session = cores[0].connect(peer).expect("because it is from this machine");
    let worlds = (0..shards)
        .map(|_| Still { monotonic_us: 0, sent: Vec::new(), spare: Vec::new() })
        .collect();
    let mut scene = Scene { cores, worlds, session, input: Vec::new() };
    for index in 0..BATCH {
        let key = format!("key:{index:012}").into_bytes();
        encode_request(&[b"SET".to_vec(), key, b"1".to_vec()], &mut scene.input);
    }
    round(&mut scene);
    scene.input.clear();
    for index in 0..BATCH {
        encode_request(&request(format!("key:{index:012}").as_bytes()), &mut scene.input);
    }
    for _ in 0..TURNS_BEFORE {
        round(&mut scene);
    }
    scene
}

/// The turns from the requests to all replies.
fn round(scene: &mut Scene) {
    let Scene { cores, worlds, session, input } = scene;
    turn(&mut cores[0], &mut worlds[0], &[(*session, input)], &mut Vec::new());
    if let ([home, other], [home_world, other_world]) = (&mut cores[..], &mut worlds[..]) {
        while !home_world.sent.is_empty() || !other_world.sent.is_empty() {
            let mut messages = from(ShardId(0), &mut home_world.sent);
            turn(other, other_world, &[], &mut messages);
            let mut messages = from(ShardId(1), &mut other_world.sent);
            turn(home, home_world, &[], &mut messages);
        }
    }
}

fn from(shard: ShardId, sent: &mut Vec<Message>) -> Vec<(ShardId, Message)> {
    sent.drain(..).map(|message| (shard, message)).collect()
}

fn turn(
    core: &mut Core,
    world: &mut Still,
    received: &[(SessionId, &[u8])],
    messages: &mut Vec<(ShardId, Message)>,
) {
    let now = Now { unix_ms: 1_000_000, monotonic_us: world.monotonic_us() };
    core.turn(world, now, received, messages);
    while let Some(id) = core.next_dirty() {
        let output = core.take_output(id, std::mem::take(&mut world.spare));
        world.spare = output.bytes;
        core.sent(id, world.spare.len());
        world.spare.clear();
    }
}

const NOTHING_SET: &[(&str, &str)] = &[];
const MAXMEMORY: &[(&str, &str)] = &[("maxmemory", "10gb")];

fn get(key: &[u8]) -> Vec<Vec<u8>> {
    vec![b"GET".to_vec(), key.to_vec()]
}
fn set(key: &[u8]) -> Vec<Vec<u8>> {
    vec![b"SET".to_vec(), key.to_vec(), b"yyy".to_vec()]
}
fn incr(key: &[u8]) -> Vec<Vec<u8>> {
    vec![b"INCR".to_vec(), key.to_vec()]
}
fn hset(key: &[u8]) -> Vec<Vec<u8>> {
    vec![b"HSET".to_vec(), [b"h".as_slice(), key].concat(), b"field".to_vec(), b"value".to_vec()]
}
fn lpush(key: &[u8]) -> Vec<Vec<u8>> {
    vec![b"LPUSH".to_vec(), [b"l".as_slice(), key].concat(), b"element".to_vec()]
}
fn mset(key: &[u8]) -> Vec<Vec<u8>> {
    vec![b"MSET".to_vec(), key.to_vec(), b"yyy".to_vec()]
}
/// Over both shards, where there are two.
fn mset_of_4(key: &[u8]) -> Vec<Vec<u8>> {
    let mut request = vec![b"MSET".to_vec()];
    for suffix in [b"a".as_slice(), b"b", b"c", b"d"] {
        request.extend([[key, suffix].concat(), b"yyy".to_vec()]);
    }
    request
}
fn ping(_: &[u8]) -> Vec<Vec<u8>> {
    vec![b"PING".to_vec()]
}

#[library_benchmark]
#[bench::get(scene(1, NOTHING_SET, get))]
#[bench::set(scene(1, NOTHING_SET, set))]
#[bench::incr(scene(1, NOTHING_SET, incr))]
#[bench::hset(scene(1, NOTHING_SET, hset))]
#[bench::lpush(scene(1, NOTHING_SET, lpush))]
#[bench::mset(scene(1, NOTHING_SET, mset))]
#[bench::ping(scene(1, NOTHING_SET, ping))]
#[bench::get_maxmemory(scene(1, MAXMEMORY, get))]
#[bench::set_maxmemory(scene(1, MAXMEMORY, set))]
#[bench::get_2(scene(2, NOTHING_SET, get))]
#[bench::set_2(scene(2, NOTHING_SET, set))]
#[bench::incr_2(scene(2, NOTHING_SET, incr))]
#[bench::hset_2(scene(2, NOTHING_SET, hset))]
#[bench::lpush_2(scene(2, NOTHING_SET, lpush))]
#[bench::mset_2(scene(2, NOTHING_SET, mset_of_4))]
#[bench::set_maxmemory_2(scene(2, MAXMEMORY, set))]
fn turn_of_16(mut scene: Scene) -> Scene {
    round(&mut scene);
    scene
}

library_benchmark_group!(name = turns, benchmarks = [turn_of_16]);
main!(library_benchmark_groups = [turns]);
