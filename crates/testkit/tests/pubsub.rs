//! Pub/Sub and tracking under every delivery order: what subscribers get, and what near-caches believe.

use basalt_commands::config::Config;
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
