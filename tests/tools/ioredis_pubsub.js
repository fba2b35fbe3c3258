// What users of ioredis do with Pub/Sub: subscribers that reconnect; and Socket.IO with its Redis adapter. Takes the
// port and the folder of modules.
const assert = require("node:assert/strict");
const http = require("node:http");
const path = require("node:path");

const [port, modules] = [Number(process.argv[2]), process.argv[3]];
const load = (name) => require(path.join(modules, name));
const Redis = load("ioredis");

async function waitFor(what, condition) {
  const end = Date.now() + 20000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function subscribers(redis) {
  const subscriber = new Redis({ port });
  const heard = [];
  subscriber.on("message", (channel, text) => heard.push(`${channel}: ${text}`));
  subscriber.on("pmessage", (pattern, channel, text) => heard.push(`${pattern} ${channel}: ${text}`));
  assert.equal(await subscriber.subscribe("news", "more"), 2);
  assert.equal(await subscriber.psubscribe("m*"), 3);
  assert.equal(await redis.publish("news", "1"), 1);
  assert.equal(await redis.publish("more", "2"), 2);
  await waitFor("all messages", () => heard.length === 3);
  assert.equal(heard[0], "news: 1");
  assert.deepEqual(heard.slice(1).sort(), ["m* more: 2", "more: 2"]);
  // It subscribes again by itself whenever its connection is gone.
  for (let round = 0; round < 5; round++) {
    await redis.client("KILL", "TYPE", "pubsub");
    await waitFor("subscribed again", async () => (await redis.publish("news", `round ${round}`)) === 1);
    await waitFor("heard again", () => heard.includes(`news: round ${round}`));
  }
  assert.equal(await subscriber.unsubscribe("news", "more"), 1);
  await subscriber.quit();
}

async function socketIo() {
  const { Server } = load("socket.io");
  const { createAdapter } = load("@socket.io/redis-adapter");
  const { io: connect } = load("socket.io-client");
  const connections = [];
  const servers = [];
  for (let index = 0; index < 2; index++) {
    const [publisher, subscriber] = [new Redis({ port }), new Redis({ port })];
    connections.push(publisher, subscriber);
    const listener = http.createServer();
    const server = new Server(listener, { adapter: createAdapter(publisher, subscriber) });
    server.on("connection", (socket) => {
      socket.on("join", (room, done) => Promise.resolve(socket.join(room)).then(done));
    });
    await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
    servers.push({ server, url: `http://127.0.0.1:${listener.address().port}` });
  }
  const clients = servers.map(({ url }) => connect(url, { transports: ["websocket"] }));
  const heard = clients.map(() => []);
  clients.forEach((client, index) => client.on("news", (text) => heard[index].push(text)));
  await Promise.all(clients.map((client) => new Promise((resolve) => client.on("connect", resolve))));
  await Promise.all(clients.map((client) => new Promise((resolve) => client.emit("join", "room", resolve))));
  // Each server learns of the other by its subscription.
  await waitFor("both servers know all sockets", async () => (await servers[0].server.fetchSockets()).length === 2);
  for (let number = 0; number < 100; number++) servers[number % 2].server.to("room").emit("news", number);
  await waitFor("all messages on both", () => heard.every((list) => list.length === 100));
  for (const list of heard) {
    // Each server's own messages are in order.
    for (const rest of [0, 1]) {
      const own = list.filter((number) => number % 2 === rest);
      assert.deepEqual(own, [...own].sort((one, other) => one - other));
    }
    assert.equal(new Set(list).size, 100);
  }
  clients.forEach((client) => client.disconnect());
  await Promise.all(servers.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  connections.forEach((connection) => connection.disconnect());
}

async function main() {
  const redis = new Redis({ port });
  await redis.flushall();
  await subscribers(redis);
  await socketIo();
  await redis.quit();
  console.log("all good");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
