//! Pub/Sub and tracking under every delivery order: what subscribers get, and what near-caches believe.

use std::collections::{BTreeMap, VecDeque};

use basalt_commands::config::{Config, EvictionPolicy};
use basalt_resp::{Value, decode, encode_request};
use basalt_testkit::random::Random;
use basalt_testkit::simulation::{ClientId, Simulation};

/// All that a client has received since the last call.
fn heard_by(server: &mut Simulation, client: ClientId) -> String {
    String::from_utf8_lossy(&server.take_received(client)).into_owned()
}

fn id_of(server: &mut Simulation, client: ClientId) -> String {
    server.ask_line(client, "CLIENT ID").trim().to_owned()
}

/// Publishers send numbered messages without waiting; each subscriber gets those of each publisher in order and once,
/// from its confirmation on, and as many get one as PUBLISH says.
#[test]
fn subscribers_get_each_message_once_and_in_order() {
    const MESSAGES: usize = 40;
    for (shards, seed) in [(1, 1), (2, 2), (3, 3), (4, 4), (4, 5), (5, 6)] {
        let mut server = Simulation::new(shards, Config::default(), seed);
        server.move_slots(&["news"]);
        let subscribers: Vec<ClientId> = (0..6).map(|core| server.connect(core)).collect();
        let publishers: Vec<ClientId> = (0..3).map(|core| server.connect(core + 1)).collect();
        let mut expected = 0;
        for (index, subscriber) in subscribers.iter().enumerate() {
            let line = if index % 2 == 0 { "SUBSCRIBE news" } else { "PSUBSCRIBE n*s" };
            server.send_line(*subscriber, line);
            expected += 1;
        }
        server.settle();
        let confirmed = subscribers.iter().map(|id| heard_by(&mut server, *id));
        assert!(confirmed.collect::<Vec<_>>().iter().all(|text| text.contains("subscribe")));
        for number in 0..MESSAGES {
            for (index, publisher) in publishers.iter().enumerate() {
                server.send_line(*publisher, &format!("PUBLISH news {index}:{number:03}"));
            }
            for _ in 0..number % 5 {
                server.step();
            }
        }
        server.settle();
        for publisher in &publishers {
            let counts = server.received_lines(*publisher);
            assert_eq!(counts.len(), MESSAGES, "seed {seed}");
            assert!(counts.iter().all(|count| *count == expected.to_string()), "{counts:?}");
        }
        for subscriber in subscribers {
            let text = heard_by(&mut server, subscriber);
            for index in 0..publishers.len() {
                let places: Vec<usize> = (0..MESSAGES)
                    .map(|number| {
                        let message = format!("{index}:{number:03}");
                        assert_eq!(text.matches(&message).count(), 1, "{message}, seed {seed}");
                        text.find(&message).expect("it is there once")
                    })
                    .collect();
                assert!(places.is_sorted(), "of publisher {index}, seed {seed}");
            }
        }
    }
}

/// The client that gets the messages of another one is gone: that one hears of it, and tracks on.
#[test]
fn messages_go_where_they_are_redirected() {
    for shards in [1, 4] {
        let mut server = Simulation::new(shards, Config::default(), 7);
        let [reader, target, writer] = [0, 1, 2].map(|core| server.connect(core));
        server.send_line(reader, "HELLO 3");
        server.settle();
        heard_by(&mut server, reader);
        let number = id_of(&mut server, target);
        server.send_line(target, "SUBSCRIBE __redis__:invalidate");
        server.settle();
        let confirmed = heard_by(&mut server, target);
        assert!(confirmed.contains("subscribe"), "{confirmed}");
        assert_eq!(server.ask_line(reader, &format!("CLIENT TRACKING ON REDIRECT {number}")), "OK");
        assert_eq!(server.ask_line(reader, "CLIENT GETREDIR"), number);
        server.ask_line(writer, "SET key 1");
        server.ask_line(reader, "GET key");
        server.ask_line(writer, "SET key 2");
        let heard = heard_by(&mut server, target);
        assert!(heard.contains("__redis__:invalidate") && heard.contains("key"), "{heard}");
        server.ask_line(writer, "SET key 3");
        assert!(
            server.received_lines(target).is_empty() && server.received_lines(reader).is_empty()
        );
        server.ask_line(reader, "GET key");
        server.disconnect(target);
        server.settle();
        server.ask_line(writer, "SET key 4");
        let heard = heard_by(&mut server, reader);
        assert!(heard.contains("tracking-redir-broken") && heard.contains(&number), "{heard}");
        server.send_line(reader, "CLIENT TRACKINGINFO");
        server.settle();
        let info = heard_by(&mut server, reader);
        assert!(info.contains("broken_redirect"), "{info}");
    }
}

/// A near-cache: what a tracking client believes, by what came on its connection, in order.
#[derive(Default)]
struct NearCache {
    values: BTreeMap<String, String>,
    /// The keys of reads that are under way, in their order.
    asked: VecDeque<String>,
    /// How often each key was heard to have changed.
    heard: usize,
    rest: Vec<u8>,
}

impl NearCache {
    /// Takes what has come. A reply fills the place of its read; an invalidation empties it.
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Ok(Some((value, len))) = decode(&self.rest[at..]) {
            at += len;
            match value {
                Value::Push(parts) => {
                    assert_eq!(parts[0], Value::bulk("invalidate"));
                    self.heard += 1;
                    match &parts[1] {
                        Value::Array(keys) => {
                            for key in keys {
                                self.values.remove(&text(key));
                            }
                        }
                        _ => self.values.clear(),
                    }
                }
                reply => {
                    let key = self.asked.pop_front().expect("a reply was asked for");
                    self.values.insert(key, text(&reply));
                }
            }
        }
        self.rest.drain(..at);
    }
}

fn text(value: &Value) -> String {
    value.as_bytes().map_or("(nil)".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Readers keep what they read until they hear of a change, writers change keys by all that does so. Whenever all has
/// arrived, no reader believes anything but what the server holds.
#[test]
fn a_near_cache_never_keeps_what_it_heard_is_changed() {
    const KEYS: usize = 12;
    let ways = ["ON", "ON BCAST", "ON NOLOOP", "ON BCAST PREFIX key:", "ON OPTOUT"];
    for (shards, seed) in [(1, 1), (2, 2), (2, 12), (3, 3), (4, 4), (4, 14), (5, 5), (5, 15)] {
        let mut random = Random::from_seed(seed);
        let config = Config {
            tracking_table_max_keys: if seed > 10 { 4 } else { 0 },
            maxmemory_policy: EvictionPolicy::AllkeysRandom,
            ..Config::default()
        };
        let mut server = Simulation::new(shards, config, seed);
        let names: Vec<String> = (0..KEYS).map(|index| format!("key:{index}")).collect();
        server.move_slots(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let writers: Vec<ClientId> = (0..3).map(|core| server.connect(core)).collect();
        let checker = server.connect(0);
        let mut readers: Vec<(ClientId, NearCache)> = Vec::new();
        for (index, way) in ways.iter().enumerate() {
            let client = server.connect(index);
            for line in ["HELLO 3", &format!("CLIENT TRACKING {way}")] {
                server.send_line(client, line);
                server.settle();
            }
            server.take_received(client);
            readers.push((client, NearCache::default()));
        }
        for round in 0..400_usize {
            let key = &names[random.below(KEYS)];
            let other = &names[random.below(KEYS)];
            let writer = writers[random.below(3)];
            let line = match random.below(14) {
                0..=3 => format!("SET {key} {round}"),
                4 => format!("SET {key} {round} PX {}", 1 + random.below(20)),
                5 => format!("DEL {key} {other}"),
                6 => format!("MSET {key} {round} {other} -{round}"),
                7 => format!("RENAME {key} {other}"),
                8 => format!("PEXPIRE {key} {}", 1 + random.below(20)),
                9 => format!("EVAL redis.call('set',KEYS[1],ARGV[1]) 1 {key} s{round}"),
                10 if random.below(8) == 0 => "FLUSHALL".into(),
                11 if random.below(8) == 0 => "CONFIG SET maxmemory 1".into(),
                12 => "CONFIG SET maxmemory 0".into(),
                _ => format!("APPEND {key} +"),
            };
            server.send_line(writer, &line);
            for (client, cache) in &mut readers {
                if random.below(2) == 0 {
                    let key = names[random.below(KEYS)].clone();
                    server.send_line(*client, &format!("GET {key}"));
                    cache.asked.push_back(key);
                }
            }
            for _ in 0..random.below(6) {
                server.step();
            }
            if random.below(4) == 0 {
                server.advance_ms(random.below(8) as u64);
            }
            for (client, cache) in &mut readers {
                cache.take(&server.take_received(*client));
            }
            if round % 20 == 19 {
                server.settle();
                for (client, cache) in &mut readers {
                    cache.take(&server.take_received(*client));
                    assert!(cache.asked.is_empty() && cache.rest.is_empty());
                }
                for key in &names {
                    let line = format!("GET {key}");
                    let held = server.ask_line(checker, &line);
                    for (client, cache) in &mut readers {
                        cache.take(&server.take_received(*client));
                        let believed = cache.values.get(key);
                        assert!(
                            believed.is_none_or(|value| *value == held),
                            "{believed:?} of {key} for {held} after round {round}, {shards} shards, seed {seed}, reader {client:?}"
                        );
                    }
                }
            }
        }
        assert!(readers.iter().all(|(_, cache)| cache.heard > 20), "all of them hear");
    }
}

/// More messages than may wait to leave for a core: they are lost, who misses them is cut off, and nobody else.
#[test]
fn who_misses_a_message_is_cut_off() {
    const PAYLOAD: usize = 1 << 20;
    const MESSAGES: usize = 70;
    let mut server = Simulation::new(2, Config::default(), 3);
    let subscribers: Vec<ClientId> = (0..2).map(|core| server.connect(core)).collect();
    let bystander = server.connect(0);
    let publisher = server.connect(0);
    let limits = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"];
    assert_eq!(server.ask_args(publisher, &limits), "OK");
    for subscriber in &subscribers {
        server.send_line(*subscriber, "SUBSCRIBE news");
    }
    server.send_line(bystander, "SUBSCRIBE other");
    server.settle();
    let payload = vec![b'v'; PAYLOAD];
    let mut bytes = Vec::new();
    encode_request(&["MULTI"], &mut bytes);
    for _ in 0..MESSAGES {
        encode_request(&[&b"PUBLISH"[..], b"news", &payload], &mut bytes);
    }
    encode_request(&["EXEC"], &mut bytes);
    server.send(publisher, &bytes);
    server.settle();
    server.take_received(publisher);
    let connected =
        |server: &Simulation| subscribers.iter().filter(|id| server.is_connected(**id)).count();
    let left = connected(&server);
    for subscriber in &subscribers {
        if server.is_connected(*subscriber) {
            let heard = heard_by(&mut server, *subscriber);
            assert_eq!(heard.matches("message").count(), MESSAGES);
        }
    }
    assert_eq!(left, 1);
    assert!(server.is_connected(bystander));
    assert_eq!(server.ask_line(publisher, "PUBLISH other 1"), "1");
}
