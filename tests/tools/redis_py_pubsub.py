"""What users of redis-py do with Pub/Sub and client-side caching: reconnect, slow readers, near-caches. Takes the port."""

import socket
import sys
import threading
import time

import redis
from redis.cache import CacheConfig

port = int(sys.argv[1])


def check(what, got, expected):
    assert got == expected, f"{what}: {got!r}, not {expected!r}"


def wait_for(what, condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def next_message(pubsub):
    """The next message, not a confirmation."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
        if message is not None:
            return message
    raise AssertionError("no message came")


def messages(r):
    pubsub = r.pubsub()
    pubsub.subscribe("news", "more")
    pubsub.psubscribe("n?ws")
    wait_for("subscribed", lambda: r.pubsub_numsub("news") == [("news", 1)] and r.pubsub_numpat() == 1)
    check("receivers", r.publish("news", "hello"), 2)
    got = sorted((m["type"], m["channel"], m["data"]) for m in (next_message(pubsub), next_message(pubsub)))
    check("messages", got, [("message", "news", "hello"), ("pmessage", "news", "hello")])
    check("channels", sorted(r.pubsub_channels()), ["more", "news"])
    # A message of a pipeline comes behind its writes.
    with r.pipeline(transaction=True) as pipe:
        pipe.set("result", "done").publish("more", "result").execute()
    check("data", r.get(next_message(pubsub)["data"]), "done")
    pubsub.unsubscribe()
    pubsub.punsubscribe()
    wait_for("unsubscribed", lambda: r.pubsub_numsub("news") == [("news", 0)])
    pubsub.close()


def reconnecting(r):
    heard = []
    pubsub = r.pubsub()
    pubsub.subscribe(**{"again": lambda message: heard.append(message["data"])})

    def survive(error, pubsub, thread):
        pass

    thread = pubsub.run_in_thread(sleep_time=0.01, daemon=True, exception_handler=survive)
    wait_for("subscribed", lambda: r.publish("again", "first") == 1)
    for round in range(5):
        # What the network does: the connection is gone without a word.
        r.client_kill_filter(_type="pubsub")
        # A message that comes before the client knows that its connection is gone is lost: at most once.
        wait_for("heard again", lambda: r.publish("again", f"round {round}") and f"round {round}" in heard)
    thread.stop()
    thread.join()
    pubsub.close()


def caching():
    other = redis.Redis(port=port, decode_responses=True)
    if "valkey_version" in other.info("server"):
        # redis-py asks for the version of Redis, and Valkey's is too old for it.
        return
    near = redis.Redis(port=port, protocol=3, decode_responses=True, cache_config=CacheConfig())
    other.set("cached", "one")
    check("read", near.get("cached"), "one")
    check("kept", near.get_cache().size, 1)
    for value in range(200):
        other.set("cached", value)
        wait_for("a change is seen", lambda: near.get("cached") == str(value))
    hits = other.info("commandstats")["cmdstat_get"]["calls"]
    check("read again", {near.get("cached") for _ in range(50)}, {"199"})
    check("without the server", other.info("commandstats")["cmdstat_get"]["calls"], hits)
    other.flushall()
    wait_for("FLUSHALL is seen", lambda: near.get("cached") is None)


def chat(r):
    """1,000 subscribers, of which 50 don't read: the others get all messages, and soon."""
    r.config_set("client-output-buffer-limit", "pubsub 1mb 0 0")
    members, count = [], 1000
    for _ in range(count):
        member = socket.create_connection(("127.0.0.1", port))
        member.sendall(b"SUBSCRIBE room\r\n")
        members.append(member)
    # Not by PUBSUB NUMSUB: Valkey 9.1 returns nonsense for so many.
    subscribers = lambda: len(r.client_list(_type="pubsub"))
    wait_for("subscribed", lambda: subscribers() == count)
    slow, quick = members[:50], members[50:]
    text = "x" * 4000
    rounds = 20
    encoded = f"*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n${len(text)}\r\n{text}\r\n".encode()
    confirmation = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nroom\r\n:1\r\n"
    expected = len(confirmation) + rounds * len(encoded)
    got = [0] * len(quick)

    def read(members, first):
        for index, member in enumerate(members, first):
            member.setblocking(False)
        left = set(range(first, first + len(members)))
        end = time.monotonic() + 100
        while left and time.monotonic() < end:
            for index in list(left):
                try:
                    bytes = quick[index].recv(1 << 20)
                except BlockingIOError:
                    continue
                if not bytes:
                    left.discard(index)
                    continue
                got[index] += len(bytes)
                if got[index] >= expected:
                    left.discard(index)

    reader = threading.Thread(target=read, args=(quick, 0))
    reader.start()
    for number in range(rounds):
        assert r.publish("room", text) >= len(quick), number
    reader.join()
    check("bytes that came", set(got), {expected})
    left = subscribers()
    assert len(quick) <= left <= count, left
    for member in members:
        member.close()
    wait_for("all have left", lambda: subscribers() == 0)
    r.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")


for protocol in (2, 3):
    client = redis.Redis(port=port, decode_responses=True, protocol=protocol)
    client.flushall()
    messages(client)
    reconnecting(client)
caching()
chat(client)
print("all good")
