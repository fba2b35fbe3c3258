//! Snapshots of a simulated server: what is in the file is what was there at one moment, on all shards.

use std::collections::BTreeMap;

use basalt_commands::config::Config;
use basalt_engine::SaveEnd;
use basalt_keyspace::combine_digests;
use basalt_testkit::simulation::{ClientId, Simulation};

const PATH: &str = "./dump.rdb";

fn digest(server: &mut Simulation) -> String {
    let databases = server.core(0).keyspace().database_count();
    let mut all = vec![(Default::default(), 0); databases];
    for shard in 0..server.shard_count() {
        let keyspace = server.core(shard).keyspace();
        for (index, digest) in keyspace.digests().into_iter().enumerate() {
            let sum: &mut (basalt_keyspace::Digest, usize) = &mut all[index];
            sum.0.absorb(&digest);
            sum.1 += keyspace.len(basalt_keyspace::DatabaseId(index as u16));
        }
    }
    combine_digests(&all).to_string()
}

fn ask(server: &mut Simulation, client: ClientId, line: &str) -> String {
    let args: Vec<&str> = line.split(' ').collect();
    server.ask_args(client, &args)
}

/// SAVE, which is answered when the disk has all.
fn save(server: &mut Simulation, client: ClientId) -> String {
    let mut reply = ask(server, client, "SAVE");
    for _ in 0..1000 {
        if !reply.is_empty() {
            break;
        }
        server.advance_ms(2);
        server.settle();
        reply = server.received_lines(client).join(" ");
    }
    reply
}

/// One line of traffic, chosen by a number.
fn line(number: u64, round: u64) -> String {
    let key = number % 60;
    match number / 60 % 16 {
        0..4 => format!("SET key:{key} {round}"),
        4 => format!("DEL key:{key}"),
        5 => format!("MSET key:{key} {round} other:{key} {round}"),
        6 => format!("RPUSH list:{key} a b c {round}"),
        7 => format!("HSET hash:{key} field {round} f{round} v"),
        8 => format!("ZADD zset:{key} {round} member{round}"),
        9 => format!("SADD set:{key} {round}"),
        10 => format!("RENAME key:{key} other:{key}"),
        11 => format!("XADD stream:{key} * f {round}"),
        12 => "SWAPDB 0 1".to_owned(),
        13 => format!("SELECT {}", round % 3),
        14 if round.is_multiple_of(5) => "FLUSHDB".to_owned(),
        14 => format!("PEXPIRE key:{key} 100000"),
        _ => format!("SINTERSTORE set:x{key} set:{key} set:{key}"),
    }
}

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn run_until_saved(server: &mut Simulation, client: ClientId, numbers: &mut Numbers) {
    let mut round = 1_000;
    while server.save_end().is_none() {
        round += 1;
        ask(server, client, &line(numbers.next(), round));
    }
    // The first shard looks how it went.
    server.advance_ms(5);
    server.settle();
}

fn restored(file: &[u8], shards: usize, seed: u64) -> String {
    let mut server = Simulation::new(shards, Config::default(), seed);
    server.load_file(file).expect("it was just saved");
    (0..shards).for_each(|shard| server.core(shard).keyspace().verify());
    digest(&mut server)
}

#[test]
fn a_snapshot_is_what_was_there_at_its_moment_under_traffic_and_moving_slots() {
    for seed in 0..12 {
        let shards = [1, 2, 4][seed as usize % 3];
        let mut server = Simulation::new(shards, Config::default(), seed);
        if seed % 2 == 1 {
            server.move_slots(&["key:1", "list:2"]);
        }
        let clients = [server.connect(0), server.connect(shards - 1)];
        let mut numbers = Numbers(seed + 1);
        for round in 0..300 {
            ask(&mut server, clients[round as usize % 2], &line(numbers.next(), round));
        }
        for _ in 0..3 {
            let wanted = digest(&mut server);
            assert_eq!(ask(&mut server, clients[0], "BGSAVE"), "Background saving started");
            run_until_saved(&mut server, clients[1], &mut numbers);
            assert_eq!(server.save_end(), Some(&SaveEnd::Saved));
            let file = server.saved_file(PATH).expect("it was saved").to_vec();
            for shards in [1, 3] {
                assert_eq!(restored(&file, shards, seed), wanted, "seed {seed}");
            }
        }
        // What is left is there, too.
        let wanted = digest(&mut server);
        assert_eq!(save(&mut server, clients[1]), "OK");
        let file = server.saved_file(PATH).expect("it was saved").to_vec();
        assert_eq!(restored(&file, 2, seed), wanted);
    }
}

#[test]
fn a_client_that_leaves_does_not_harm_the_save_and_a_fault_harms_nothing() {
    let mut server = Simulation::new(3, Config::default(), 5);
    let clients: BTreeMap<usize, ClientId> =
        (0..3).map(|core| (core, server.connect(core))).collect();
    for key in 0..200 {
        ask(&mut server, clients[&0], &format!("SET key:{key} {key}"));
    }
    let wanted = digest(&mut server);
    for core in 0..3 {
        let leaving = server.connect(core);
        server.send(leaving, b"BGSAVE\r\n");
        server.disconnect(leaving);
        let mut reply = save(&mut server, clients[&core]);
        while reply == "ERR Background save already in progress" {
            server.advance_ms(2);
            reply = save(&mut server, clients[&core]);
        }
        assert_eq!(reply, "OK");
        let file = server.saved_file(PATH).expect("it was saved").to_vec();
        assert_eq!(restored(&file, 2, 1), wanted);
    }
    server.fail_next_save("the disk is full");
    let reply = save(&mut server, clients[&1]);
    assert_eq!(reply, "ERR the save failed: the disk is full");
    ask(&mut server, clients[&1], "SET key:1 changed");
    assert_eq!(save(&mut server, clients[&2]), "OK");
    assert_eq!(ask(&mut server, clients[&2], "BGSAVE CANCEL").split(' ').next(), Some("ERR"));
    let file = server.saved_file(PATH).expect("it was saved").to_vec();
    let wanted = digest(&mut server);
    assert_eq!(restored(&file, 4, 9), wanted);
}

#[test]
fn flushall_gives_up_a_save_and_save_points_save() {
    let config = Config::default()
        .set(&[(b"save".as_slice(), b"1 5".as_slice())], true)
        .expect("it is valid");
    let mut server = Simulation::new(2, config, 3);
    let client = server.connect(0);
    for key in 0..50 {
        ask(&mut server, client, &format!("SET key:{key} {key}"));
    }
    for _ in 0..40 {
        server.advance_ms(100);
        ask(&mut server, client, "PING");
    }
    let file = server.saved_file(PATH).expect("a save point was met").to_vec();
    assert_eq!(restored(&file, 2, 1), digest(&mut server));
    assert_eq!(ask(&mut server, client, "FLUSHALL"), "OK");
    server.settle();
    for _ in 0..20 {
        server.advance_ms(100);
        ask(&mut server, client, "PING");
    }
    let file = server.saved_file(PATH).expect("a save point was met").to_vec();
    assert_eq!(restored(&file, 1, 1), digest(&mut server));
}
