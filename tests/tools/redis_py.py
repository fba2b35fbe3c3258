"""What users of redis-py do: connect, read and write, pipelines, RESP3, scanning, reconnecting. Takes the port."""

import sys
import threading

import redis

port = int(sys.argv[1])


def check(what, got, expected):
    assert got == expected, f"{what}: {got!r}, not {expected!r}"


def strings(r):
    check("set", r.set("k", "v"), True)
    check("get", r.get("k"), "v")
    check("get of nothing", r.get("absent"), None)
    check("set nx", r.set("k", "w", nx=True), None)
    check("set xx get", r.set("k", "w", xx=True, get=True), "v")
    check("set ex", r.set("t", "v", ex=100), True)
    check("ttl", r.ttl("t"), 100)
    check("getex", r.getex("t", persist=True), "v")
    check("ttl of a lasting key", r.ttl("t"), -1)
    check("ttl of nothing", r.ttl("absent"), -2)
    check("incr", r.incr("n"), 1)
    check("incrby", r.incrby("n", 41), 42)
    check("incrbyfloat", r.incrbyfloat("f", "1.5"), 1.5)
    check("mset", r.mset({"a": 1, "b": 2}), True)
    check("mget", r.mget("a", "absent", "b"), ["1", None, "2"])
    check("append", r.append("k", "xyz"), 4)
    check("getrange", r.getrange("k", 1, 2), "xy")
    check("setrange", r.setrange("k", 1, "__"), 4)
    check("strlen", r.strlen("k"), 4)
    check("exists", r.exists("a", "b", "absent"), 2)
    check("type", r.type("a"), "string")
    check("rename", r.rename("a", "c"), True)
    check("copy", r.copy("c", "d"), True)
    check("delete", r.delete("c", "d", "absent"), 2)
    check("getdel", r.getdel("k"), "w__z")
    check("expire", r.expire("b", 100, nx=True), True)
    check("pexpiretime", r.pexpiretime("b") > 1_600_000_000_000, True)
    try:
        r.incr("t")
        raise AssertionError("incr of text did not fail")
    except redis.ResponseError as error:
        check("error", str(error), "value is not an integer or out of range")
    try:
        r.execute_command("NOSUCH", "x")
        raise AssertionError("an unknown command did not fail")
    except redis.ResponseError as error:
        check("unknown", str(error).startswith("unknown command 'NOSUCH'"), True)


def binary():
    r = redis.Redis(port=port)
    value = bytes(range(256)) * 1000
    r.set(b"\x00\xff", value)
    check("binary", r.get(b"\x00\xff"), value)


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for index in range(10_000):
            pipe.set(f"key:{index}", index)
        check("pipelined sets", set(pipe.execute()), {True})
        for index in range(10_000):
            pipe.get(f"key:{index}")
        check("pipelined gets", pipe.execute(), [str(index) for index in range(10_000)])
        pipe.set("text", "abc").incr("text").get("text")
        replies = pipe.execute(raise_on_error=False)
        check("error in a pipeline", isinstance(replies[1], redis.ResponseError), True)
        check("after an error", replies[2], "abc")


def scanning(r):
    r.flushall()
    r.mset({f"scan:{index}": index for index in range(3000)})
    r.set("other", 1)
    check("scan_iter", {key for key in r.scan_iter("scan:*", count=100)}, {f"scan:{index}" for index in range(3000)})
    check("keys", len(r.keys("scan:1*")), 1111)
    check("dbsize", r.dbsize(), 3001)
    check("randomkey", r.exists(r.randomkey()), 1)


def server(r):
    check("ping", r.ping(), True)
    check("echo", r.echo("hi"), "hi")
    info = r.info()
    for field in ["redis_version", "connected_clients", "used_memory", "role", "db0"]:
        assert field in info, f"INFO has no {field}"
    check("config_set", r.config_set("timeout", 0), True)
    check("config_get", r.config_get("timeout"), {"timeout": "0"})
    check("client_setname", r.client_setname("tester"), True)
    check("client_getname", r.client_getname(), "tester")
    assert r.client_id() > 0
    assert any(client["name"] == "tester" for client in r.client_list())
    assert r.command_count() > 50
    check("object encoding", r.object("encoding", "other"), "int")


def databases():
    one, two = (redis.Redis(port=port, db=db, decode_responses=True) for db in (1, 2))
    one.set("here", 1)
    check("database 1", one.get("here"), "1")
    check("database 2", two.get("here"), None)
    one.flushdb()
    check("flushdb", one.dbsize(), 0)


def reconnecting(r):
    r.set("before", "1")
    r.connection_pool.disconnect()
    check("after a disconnect", r.get("before"), "1")
    victim = redis.Redis(port=port, decode_responses=True, client_name="victim")
    victim.ping()
    victim.connection_pool._available_connections[0]._sock.shutdown(2)
    check("after a broken socket", victim.get("before"), "1")


def threads():
    r = redis.Redis(port=port)

    def count():
        for _ in range(200):
            r.incr("counter")

    workers = [threading.Thread(target=count) for _ in range(20)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    check("counter", r.get("counter"), b"4000")


for protocol in (2, 3):
    client = redis.Redis(port=port, decode_responses=True, protocol=protocol, client_name=f"resp{protocol}")
    client.flushall()
    strings(client)
    pipelines(client)
    scanning(client)
    server(client)
    reconnecting(client)
binary()
databases()
threads()
print("all good")
