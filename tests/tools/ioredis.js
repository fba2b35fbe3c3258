// What users of ioredis do: connect, read and write, pipelines, scanning, reconnecting. Takes the port and the folder
// that holds ioredis.
const assert = require("node:assert/strict");
const path = require("node:path");
const [port, modules] = [Number(process.argv[2]), process.argv[3]];
const Redis = require(path.join(modules, "ioredis"));

async function strings(redis) {
  assert.equal(await redis.set("k", "v"), "OK");
  assert.equal(await redis.get("k"), "v");
  assert.equal(await redis.get("absent"), null);
  assert.equal(await redis.set("k", "w", "NX"), null);
  assert.equal(await redis.set("k", "w", "EX", 100, "XX", "GET"), "v");
  assert.equal(await redis.ttl("k"), 100);
  assert.equal(await redis.incr("n"), 1);
  assert.equal(await redis.incrbyfloat("f", 1.5), "1.5");
  assert.equal(await redis.mset({ a: 1, b: 2 }), "OK");
  assert.deepEqual(await redis.mget("a", "absent", "b"), ["1", null, "2"]);
  assert.equal(await redis.append("k", "xyz"), 4);
  assert.equal(await redis.del("a", "b", "absent"), 2);
  assert.equal(await redis.getdel("k"), "wxyz");
  await assert.rejects(redis.call("NOSUCH", "x"), /unknown command 'NOSUCH'/);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  await redis.set(bytes, bytes);
  assert.deepEqual(await redis.getBuffer(bytes), bytes);
}

async function pipelines(redis) {
  const pipeline = redis.pipeline();
  for (let index = 0; index < 10000; index++) pipeline.set(`key:${index}`, index);
  pipeline.incr("text-of-key").set("text", "abc").incr("text").get("text");
  const replies = await pipeline.exec();
  assert.equal(replies.length, 10004);
  assert.ok(replies.slice(0, 10000).every(([error, reply]) => error === null && reply === "OK"));
  assert.match(replies[10002][0].message, /not an integer/);
  assert.equal(replies[10003][1], "abc");
  const reads = await Promise.all(Array.from({ length: 1000 }, (_, index) => redis.get(`key:${index}`)));
  assert.deepEqual(reads, Array.from({ length: 1000 }, (_, index) => String(index)));
}

async function scanning(redis) {
  const found = new Set();
  const stream = redis.scanStream({ match: "key:1*", count: 100 });
  for await (const keys of stream) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 1111);
}

async function reconnecting(redis) {
  await redis.set("before", "1");
  const ready = new Promise((resolve) => redis.once("ready", resolve));
  redis.stream.destroy();
  await ready;
  assert.equal(await redis.get("before"), "1");
  const disconnected = new Promise((resolve) => redis.once("close", resolve));
  redis.disconnect(true);
  await disconnected;
  assert.equal(await redis.get("before"), "1");
}

async function main() {
  const redis = new Redis({ port, connectionName: "ioredis-test", db: 0 });
  await redis.flushall();
  await strings(redis);
  await pipelines(redis);
  await scanning(redis);
  await reconnecting(redis);
  const other = new Redis({ port, db: 2, enableAutoPipelining: true });
  await Promise.all(Array.from({ length: 500 }, () => other.incr("counter")));
  assert.equal(await other.get("counter"), "500");
  assert.match(await other.info("server"), /redis_version:/);
  await Promise.all([redis.quit(), other.quit()]);
  console.log("all good");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
