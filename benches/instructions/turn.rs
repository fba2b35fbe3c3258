//! Instructions of a turn: sixteen requests of one connection, from received bytes to bytes to
//! send.

use std::sync::Arc;

use basalt_commands::config::{Config, Extent};
use basalt_engine::{
    Core, CoreSetup, Message, Now, Peer, ProcessFacts, SessionId, ShutdownRequest,
};
use basalt_engine::{World, limits};
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
}

impl World for Still {
    fn send(&mut self, _: ShardId, _: Message) {
        unreachable!("there is one shard, so up to {} go nowhere", limits::MESSAGES_IN_FLIGHT_MAX)
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
    fn process(&mut self) -> ProcessFacts {
        ProcessFacts::default()
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
    fn log(&mut self, _: &str) {}
}

struct Scene {
    core: Core,
    world: Still,
    session: SessionId,
    input: Vec<u8>,
}

fn scene(request: fn(Vec<u8>) -> Vec<Vec<u8>>) -> Scene {
    let now = Now { unix_ms: 1_000_000, monotonic_us: 0 };
    let setup = CoreSetup {
        shard: ShardId(0),
        shard_count: 1,
        config: Arc::new(Config::default()),
        hash_seed: 1,
        chance_seed: 1,
        now,
        apply: None,
    };
    let mut core = Core::new(setup);
    let peer = Peer::Unix { path: String::new() };
    let session = core.connect(peer).expect("because it is from this machine");
    let mut scene = Scene { core, world: Still { monotonic_us: 0 }, session, input: Vec::new() };
    for index in 0..BATCH {
        let key = format!("key:{index:012}").into_bytes();
        encode_request(&[b"SET".to_vec(), key, b"xxx".to_vec()], &mut scene.input);
    }
    turn(&mut scene);
    scene.input.clear();
    for index in 0..BATCH {
        encode_request(&request(format!("key:{index:012}").into_bytes()), &mut scene.input);
    }
    for _ in 0..TURNS_BEFORE {
        turn(&mut scene);
    }
    scene
}

fn turn(scene: &mut Scene) {
    let Scene { core, world, session, input } = scene;
    let now = Now { unix_ms: 1_000_000, monotonic_us: world.monotonic_us() };
    core.turn(world, now, &[(*session, input)], &mut Vec::new());
    while let Some(id) = core.next_dirty() {
        let mut spare = core.take_output(id, Vec::new()).bytes;
        let len = spare.len();
        core.sent(id, len);
        spare.clear();
    }
}

#[library_benchmark]
#[bench::get(scene(|key| vec![b"GET".to_vec(), key]))]
#[bench::set(scene(|key| vec![b"SET".to_vec(), key, b"yyy".to_vec()]))]
#[bench::mset(scene(|key| vec![b"MSET".to_vec(), key, b"yyy".to_vec()]))]
#[bench::ping(scene(|_| vec![b"PING".to_vec()]))]
fn turn_of_16(mut scene: Scene) -> Scene {
    turn(&mut scene);
    scene
}

library_benchmark_group!(name = turns, benchmarks = [turn_of_16]);
main!(library_benchmark_groups = [turns]);
