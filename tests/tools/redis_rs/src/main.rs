//! Typical uses of the `redis` crate, sync and async: connect, read and write, pipelines, RESP3,
//! scanning, reconnecting. Takes the port.

use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncCommands, Client, Commands, Connection, ProtocolVersion, Value, cmd, pipe};
use std::collections::{BTreeSet, HashMap};

type Outcome = redis::RedisResult<()>;

const KEYS: usize = 3000;

fn main() {
    let port = std::env::args().nth(1).expect("the port");
    for resp3 in [false, true] {
        let client = client(&port, resp3);
        let ask = || -> Outcome {
            let mut connection = client.get_connection()?;
            cmd("FLUSHALL").exec(&mut connection)?;
            strings(&mut connection)?;
            collections(&mut connection)?;
            pipelines(&mut connection)?;
            scanning(&mut connection)?;
            types(&mut connection, resp3)?;
            reconnecting(&client)?;
            smol::block_on(asynchronous(&client))
        };
        ask().unwrap_or_else(|error| panic!("RESP3 {resp3}: {error}"));
    }
    println!("all good");
}

fn client(port: &str, resp3: bool) -> Client {
    let protocol = if resp3 { "?protocol=resp3" } else { "" };
    Client::open(format!("redis://127.0.0.1:{port}/0{protocol}")).expect("the address is right")
}

fn strings(connection: &mut Connection) -> Outcome {
    let () = connection.set("k", "v")?;
    assert_eq!(connection.get::<_, String>("k")?, "v");
    assert_eq!(connection.get::<_, Option<String>>("absent")?, None);
    assert!(!connection.set_nx::<_, _, bool>("k", "w")?);
    let () = connection.set_ex("t", "v", 100)?;
    assert_eq!(connection.ttl::<_, i64>("t")?, 100);
    assert_eq!(connection.incr::<_, _, i64>("n", 41)?, 41);
    assert_eq!(connection.incr::<_, _, f64>("f", 1.5)?, 1.5);
    let () = connection.mset(&[("a", 1), ("b", 2)])?;
    assert_eq!(connection.mget::<_, Vec<Option<i64>>>(&["a", "absent", "b"])?, [Some(1), None, Some(2)]);
    assert_eq!(connection.append::<_, _, usize>("k", "xyz")?, 4);
    assert_eq!(connection.del::<_, usize>(&["a", "b", "absent"])?, 2);
    assert_eq!(connection.get_del::<_, String>("k")?, "vxyz");
    let bytes: Vec<u8> = (0..=255).cycle().take(256_000).collect();
    let () = connection.set(&bytes[..256], &bytes)?;
    assert_eq!(connection.get::<_, Vec<u8>>(&bytes[..256])?, bytes);
    let refused = connection.incr::<_, _, i64>("t", 1).expect_err("it is text");
    assert!(refused.to_string().contains("not an integer"), "{refused}");
    let refused = cmd("NOSUCH").arg("x").exec(connection).expect_err("there is no such command");
    assert!(refused.to_string().contains("unknown command"), "{refused}");
    Ok(())
}

fn collections(connection: &mut Connection) -> Outcome {
    let () = connection.hset_multiple("hash", &[("one", 1), ("two", 2)])?;
    let hash: HashMap<String, i64> = connection.hgetall("hash")?;
    assert_eq!(hash, HashMap::from([("one".into(), 1), ("two".into(), 2)]));
    assert_eq!(connection.rpush::<_, _, usize>("list", &["a", "b", "c"])?, 3);
    assert_eq!(connection.lrange::<_, Vec<String>>("list", 0, -1)?, ["a", "b", "c"]);
    assert_eq!(connection.sadd::<_, _, usize>("set", &["x", "y", "x"])?, 2);
    assert_eq!(connection.smembers::<_, BTreeSet<String>>("set")?.len(), 2);
    let () = connection.zadd("sorted", "m", 1.5)?;
    assert_eq!(connection.zscore::<_, _, f64>("sorted", "m")?, 1.5);
    let id: String = cmd("XADD").arg(&["stream", "*", "field", "value"]).query(connection)?;
    assert!(id.contains('-'), "{id}");
    Ok(())
}

fn pipelines(connection: &mut Connection) -> Outcome {
    let mut sets = pipe();
    (0..10_000).for_each(|key| _ = sets.set(format!("key:{key}"), key));
    assert_eq!(sets.query::<Vec<Value>>(connection)?, vec![Value::Okay; 10_000]);
    let mut gets = pipe();
    (0..10_000).for_each(|key| _ = gets.get(format!("key:{key}")));
    assert_eq!(gets.query::<Vec<usize>>(connection)?, (0..10_000).collect::<Vec<_>>());
    let (one, two): (i64, i64) =
        pipe().atomic().incr("counter:{a}", 1).incr("counter:{b}", 2).query(connection)?;
    assert_eq!((one, two), (1, 2));
    let done: Option<(i64,)> = redis::transaction(connection, &["counter:{a}"], |connection, pipe| {
        let before: i64 = connection.get("counter:{a}")?;
        pipe.set("counter:{a}", before + 9).ignore().get("counter:{a}").query(connection)
    })
    .map(Some)?;
    assert_eq!(done, Some((10,)));
    Ok(())
}

fn scanning(connection: &mut Connection) -> Outcome {
    cmd("FLUSHDB").exec(connection)?;
    let mut sets = pipe();
    (0..KEYS).for_each(|key| _ = sets.set(format!("scan:{key}"), key).ignore());
    sets.exec(connection)?;
    let found: Result<BTreeSet<String>, _> = connection.scan_match("scan:*")?.collect();
    assert_eq!(found?.len(), KEYS);
    assert_eq!(cmd("DBSIZE").query::<usize>(connection)?, KEYS);
    Ok(())
}

/// Replies keep their types if the protocol has them.
fn types(connection: &mut Connection, resp3: bool) -> Outcome {
    let () = connection.hset("typed", "field", "value")?;
    let hash: Value = connection.hgetall("typed")?;
    assert_eq!(matches!(hash, Value::Map(_)), resp3, "{hash:?}");
    let () = connection.zadd("scored", "m", 2.5)?;
    let score: Value = connection.zscore("scored", "m")?;
    assert_eq!(matches!(score, Value::Double(_)), resp3, "{score:?}");
    let hello: HashMap<String, Value> = cmd("HELLO").query(connection)?;
    let expected = if resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
    assert_eq!(hello["proto"] == Value::Int(3), expected == ProtocolVersion::RESP3);
    Ok(())
}

/// The connection is killed; the next one works.
fn reconnecting(client: &Client) -> Outcome {
    let (mut victim, mut killer) = (client.get_connection()?, client.get_connection()?);
    let () = victim.set("before", 1)?;
    let id: i64 = cmd("CLIENT").arg("ID").query(&mut victim)?;
    assert_eq!(cmd("CLIENT").arg(&["KILL", "ID", &id.to_string()]).query::<i64>(&mut killer)?, 1);
    assert!(victim.get::<_, i64>("before").is_err_and(|error| error.is_connection_dropped()));
    assert_eq!(client.get_connection()?.get::<_, i64>("before")?, 1);
    Ok(())
}

async fn asynchronous(client: &Client) -> Outcome {
    let mut connection = client.get_multiplexed_async_connection().await?;
    let () = connection.set("async", 1).await?;
    let counts = (0..500).map(|_| {
        let mut own: MultiplexedConnection = connection.clone();
        async move { own.incr::<_, _, i64>("async", 1).await }
    });
    let mut counts: Vec<i64> =
        futures_util::future::join_all(counts).await.into_iter().collect::<Result<_, _>>()?;
    counts.sort_unstable();
    assert_eq!(counts, (2..=501).collect::<Vec<_>>());
    let mut sets = pipe();
    (0..1000).for_each(|key| _ = sets.set(format!("async:{key}"), key).ignore());
    sets.exec_async(&mut connection).await?;
    let mut found = BTreeSet::new();
    let mut keys = connection.scan_match::<_, String>("async:*").await?;
    while let Some(key) = keys.next().await {
        found.insert(key?);
    }
    drop(keys);
    assert_eq!(found.len(), 1000);
    managed(client).await
}

/// A managed connection reconnects by itself.
async fn managed(client: &Client) -> Outcome {
    let config = ConnectionManagerConfig::new();
    let mut managed = ConnectionManager::new_with_config(client.clone(), config).await?;
    let id: i64 = cmd("CLIENT").arg("ID").query_async(&mut managed).await?;
    let mut killer = client.get_multiplexed_async_connection().await?;
    cmd("CLIENT").arg(&["KILL", "ID", &id.to_string()]).exec_async(&mut killer).await?;
    // The request on the dead connection fails, and has it replaced.
    let mut last = managed.get::<_, i64>("async").await;
    for _ in 0..20 {
        if last.is_ok() {
            break;
        }
        last = managed.get::<_, i64>("async").await;
    }
    assert_eq!(last?, 501);
    Ok(())
}
