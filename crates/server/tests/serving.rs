//! The server's loop with the toy engine: sockets of all kinds and clients of all manners.

#[path = "toy/client.rs"]
mod client;
mod toy;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::thread;

use basalt_commands::config::{BindAddresses, Config};
use client::{Client, Served};

#[test]
fn it_answers_on_one_and_on_many_shards() {
    for shards in [1, 2, 5] {
        let served = Served::with_shards(shards);
        let mut clients: Vec<_> = (0..8).map(|_| served.client()).collect();
        for round in 0..50 {
            for (index, client) in clients.iter_mut().enumerate() {
                client.say(&format!("PING {index}-{round}\r\n"));
            }
            for (index, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.text(), format!("{index}-{round}"));
            }
        }
    }
}

#[test]
fn it_listens_on_several_addresses() {
    let served = Served::on_tcp(&["127.0.0.1", "-::1", "127.0.0.2", "-192.0.2.1"], |_| {});
    for address in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(served.tcp_client(address).ask("PING tcp"), "tcp");
    }
    assert_eq!(served.client().ask("PING unix"), "unix");
}

#[test]
fn an_address_that_is_not_there_is_named() {
    let bind = BindAddresses(vec!["192.0.2.1".into()]);
    let config = Config { bind, port: 17599, ..Config::default() };
    let words = basalt_server::listen(&config).expect_err("nobody has it").to_string();
    assert!(words.contains("192.0.2.1:17599"), "{words}");
    assert!(words.contains("Failed listening on port 17599"), "{words}");
}

#[test]
fn requests_may_come_byte_by_byte() {
    let served = Served::with_shards(2);
    let mut client = served.client();
    for byte in "*2\r\n$4\r\nPING\r\n$5\r\nhello\r\nPING world\r\n".chars() {
        client.say(&byte.to_string());
        // A round trip of another client: the byte has been worked by then.
        assert_eq!(served.client().ask("PING x"), "x");
    }
    assert_eq!((client.text().as_str(), client.text().as_str()), ("hello", "world"));
}

#[test]
fn pipelines_of_any_length_are_answered_in_order() {
    let served = Served::with_shards(3);
    let count = 200_000;
    thread::scope(|scope| {
        let (mut output, mut client) = served.client().split();
        scope.spawn(move || {
            for first in (0..count).step_by(1000) {
                let batch: String =
                    (first..first + 1000).map(|one| format!("PING {one}\r\n")).collect();
                std::io::Write::write_all(&mut output, batch.as_bytes()).expect("it reads on");
            }
        });
        for one in 0..count {
            assert_eq!(client.text(), one.to_string());
        }
    });
}

#[test]
fn a_half_closed_connection_gets_all_its_answers() {
    for shards in [1, 3] {
        let served = Served::with_shards(shards);
        let mut client = served.client();
        client.say(&"PING\r\n".repeat(10_000));
        client.say("BIG 3000000\r\n");
        client.end_output();
        assert_eq!(client.rest().len(), 7 * 10_000 + "$3000000\r\n\r\n".len() + 3_000_000);
    }
}

#[test]
fn output_waits_for_a_client_that_reads_late() {
    let served = Served::with_shards(2);
    let mut late = served.client();
    for _ in 0..8 {
        late.say("BIG 4000000\r\n");
    }
    // Others are served meanwhile.
    let mut other = served.client();
    for round in 0..100 {
        assert_eq!(other.ask(&format!("PING {round}")), round.to_string());
    }
    for _ in 0..8 {
        assert_eq!(late.text().len(), 4_000_000);
    }
    assert_eq!(late.ask("PING still"), "still");
}

#[test]
fn a_client_that_leaves_with_output_unread_is_forgotten() {
    let served = Served::with(|config| config.maxclients = 1);
    let mut client = served.client();
    client.say("BIG 50000000\r\n");
    assert_eq!(client.line(), "$50000000");
    drop(client);
    // Its place is free as soon as the server has seen it go.
    while served.client().ask_or_refusal("PING back") != "back" {
        thread::yield_now();
    }
}

#[test]
fn an_aborted_session_is_cut_off_with_output_unread() {
    let served = Served::with_shards(1);
    let mut client = served.client();
    client.say("BIG 50000000\r\n");
    assert_eq!(client.line(), "$50000000");
    let mut other = served.client();
    other.say("ABORT\r\n");
    assert_eq!(other.ask("PING after"), "after");
    assert!(client.len_of_rest() < 50_000_000);
}

#[test]
fn quitting_closes_after_the_answer() {
    let served = Served::with_shards(1);
    let mut client = served.client();
    client.say("QUIT\r\n");
    assert_eq!(client.rest(), "+OK\r\n");
}

#[test]
fn clients_beyond_the_limit_are_told_so() {
    let served = Served::with(|config| {
        config.shards = 2;
        config.maxclients = 2;
    });
    let mut first = served.client();
    let mut second = served.client();
    assert_eq!((first.ask("PING 1").as_str(), second.ask("PING 2").as_str()), ("1", "2"));
    assert_eq!(served.client().rest(), "-ERR max number of clients reached\r\n");
    drop(first);
    while served.client().ask_or_refusal("PING 3") != "3" {
        thread::yield_now();
    }
}

#[test]
fn connections_are_spread_evenly() {
    let served = Served::with_shards(4);
    let mut clients: Vec<_> = (0..10).map(|_| served.client()).collect();
    let places = |clients: &mut Vec<Client>| {
        let mut counts = [0; 4];
        for client in clients {
            counts[client.ask("WHERE").parse::<usize>().expect("a number")] += 1;
        }
        counts
    };
    let mut counts = places(&mut clients);
    counts.sort_unstable();
    assert_eq!(counts, [2, 2, 3, 3]);
    // Those who come later fill the gaps that others left.
    let (mut clients, leave): (Vec<_>, Vec<_>) = clients
        .into_iter()
        .map(|mut client| (client.ask("WHERE") == "0", client))
        .partition(|(stays, _)| *stays);
    for (_, mut client) in leave {
        client.say("QUIT\r\n");
        assert_eq!(client.rest(), "+OK\r\n");
    }
    let mut clients: Vec<_> = clients.drain(..).map(|(_, client)| client).collect();
    let stayed = clients.len();
    clients.extend((0..3 * stayed).map(|_| served.client()));
    assert_eq!(places(&mut clients), [stayed; 4]);
}

#[test]
fn many_come_and_go() {
    let served = Served::on_tcp(&["127.0.0.1"], |config| {
        config.shards = 3;
        config.maxclients = 300;
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let mut client = served.tcp_client("127.0.0.1");
                    if round % 3 > 0 {
                        assert_eq!(client.ask("PING a"), "a");
                    }
                    if round % 3 > 1 {
                        client.say("QUIT\r\n");
                        assert_eq!(client.rest(), "+OK\r\n");
                    }
                }
            });
        }
    });
    assert_eq!(served.tcp_client("127.0.0.1").ask("PING b"), "b");
}

#[test]
fn the_end_comes_after_what_was_asked_before() {
    for shards in [1, 3] {
        let served = Served::with_shards(shards);
        let mut client = served.client();
        client.say("PING last\r\nBIG 300000\r\nSHUTDOWN\r\n");
        let rest = client.rest();
        assert!(rest.contains("last") && rest.len() > 300_000, "{} bytes", rest.len());
        served.join();
    }
}

#[test]
fn an_idle_server_ends_when_told_to() {
    for shards in [1, 4] {
        let served = Served::with_shards(shards);
        let _idle: Vec<_> = (0..10).map(|_| served.client()).collect();
        drop(served);
    }
}

#[test]
fn a_stale_socket_file_is_replaced_and_removed_at_the_end() {
    let path = std::env::temp_dir().join(format!("toy-stale-{}", std::process::id()));
    drop(UnixListener::bind(&path).expect("the directory is there"));
    assert!(path.exists());
    let served = Served::with(|config| {
        config.unixsocket = path.display().to_string();
        config.unixsocketperm = 0o700;
    });
    let mode = path.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(served.client().ask("PING new"), "new");
    drop(served);
    assert!(!path.exists());
}
