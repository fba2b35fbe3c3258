//! The commands of the random driver: weight and grammar. The weight is how often one is chosen
//! relative to others.

/// One row.
pub struct Row {
    pub weight: usize,
    pub grammar: &'static str,
}

const fn row(weight: usize, grammar: &'static str) -> Row {
    Row { weight, grammar }
}

/// Commands that both servers must know.
pub const ROWS: &[Row] = &[
    // Strings.
    row(
        20,
        "SET key value [NX|XX] [GET] [EX seconds|PX ms|EXAT unix-seconds|PXAT unix-ms|KEEPTTL]",
    ),
    row(20, "SET key value"),
    row(12, "GET key"),
    row(3, "GETSET key value"),
    row(3, "GETDEL key"),
    row(8, "GETEX key [EX seconds|PX ms|EXAT unix-seconds|PXAT unix-ms|PERSIST]"),
    row(4, "MGET (key)..."),
    row(4, "MSET (key value)..."),
    row(3, "MSETNX (key value)..."),
    row(6, "APPEND key value"),
    row(3, "STRLEN key"),
    row(5, "GETRANGE key index index"),
    row(1, "SUBSTR key index index"),
    row(5, "SETRANGE key offset value"),
    row(2, "SETNX key value"),
    row(2, "SETEX key seconds value"),
    row(2, "PSETEX key ms value"),
    row(4, "INCR key"),
    row(3, "DECR key"),
    row(5, "INCRBY key integer"),
    row(4, "DECRBY key integer"),
    row(8, "INCRBYFLOAT key float"),
    // Hashes.
    row(10, "HSET key (field value)..."),
    row(2, "HMSET key (field value)..."),
    row(3, "HSETNX key field value"),
    row(4, "HGET key field"),
    row(2, "HMGET key (field)..."),
    row(3, "HGETALL key"),
    row(1, "HKEYS key"),
    row(1, "HVALS key"),
    row(4, "HDEL key (field)..."),
    row(2, "HLEN key"),
    row(1, "LCS key key [LEN] [IDX] [MINMATCHLEN integer] [WITHMATCHLEN]"),
    // Bitmaps.
    row(6, "SETBIT key bit (0|1)"),
    row(3, "GETBIT key bit"),
    row(5, "BITCOUNT key [index index|index index BYTE|index index BIT]"),
    row(5, "BITPOS key (0|1) [index|index index|index index BYTE|index index BIT]"),
    row(5, "BITOP (AND|OR|XOR) key (key)..."),
    row(2, "BITOP NOT key key"),
    // No SET that saturates: if its number is near the minimum, the calculation of Redis and Valkey
    // overflows itself and uses the maximum.
    row(
        6,
        "BITFIELD key [GET width bit] [OVERFLOW (WRAP|FAIL)] [SET width bit integer] [INCRBY width bit integer] [OVERFLOW (FAIL|SAT) INCRBY width bit integer]",
    ),
    row(2, "BITFIELD_RO key (GET width bit)..."),
    // HyperLogLog.
    row(10, "PFADD sketch (element)..."),
    row(4, "PFADD key [value] [element]"),
    row(4, "PFCOUNT (sketch)..."),
    row(2, "PFCOUNT (key)..."),
    row(4, "PFMERGE sketch (sketch)..."),
    row(1, "PFMERGE key [key] [sketch]"),
    row(1, "PFDEBUG (ENCODING|DECODE|TODENSE|odd) sketch"),
    row(4, "GET sketch"),
    row(1, "HEXISTS key field"),
    row(1, "HSTRLEN key field"),
    row(4, "HINCRBY key field integer"),
    row(4, "HINCRBYFLOAT key field float"),
    row(2, "HRANDFIELD key [count [WITHVALUES]]"),
    row(2, "HSCAN key 0 COUNT count [MATCH pattern]"),
    // Lists.
    row(8, "LPUSH key (value)..."),
    row(8, "RPUSH key (value)..."),
    row(2, "LPUSHX key (value)..."),
    row(2, "RPUSHX key (value)..."),
    row(4, "LPOP key [integer]"),
    row(4, "RPOP key [index]"),
    row(2, "LLEN key"),
    row(6, "LRANGE key index index"),
    row(3, "LINDEX key index"),
    row(4, "LSET key index value"),
    row(4, "LINSERT key (BEFORE|AFTER|odd) value value"),
    row(4, "LREM key index value"),
    row(2, "LTRIM key index index"),
    row(4, "LPOS key value [RANK index] [COUNT index] [MAXLEN index]"),
    row(5, "LMOVE key key (LEFT|RIGHT|odd) (LEFT|RIGHT)"),
    row(3, "RPOPLPUSH key key"),
    row(4, "LMPOP (1 key|2 key key|integer key) (LEFT|RIGHT|odd) [COUNT index]"),
    // Sets.
    row(10, "SADD key (member)..."),
    row(5, "SREM key (member)..."),
    row(3, "SCARD key"),
    row(4, "SISMEMBER key member"),
    row(3, "SMISMEMBER key (member)..."),
    row(3, "SMEMBERS key"),
    row(2, "SPOP key (1000000|0|-1|X)"),
    row(2, "SRANDMEMBER key (1000000|0|X)"),
    row(2, "SSCAN key 0 COUNT 1000000 [MATCH pattern]"),
    row(4, "SMOVE key key member"),
    row(4, "SINTER (key)..."),
    row(4, "SUNION (key)..."),
    row(4, "SDIFF (key)..."),
    row(3, "SINTERCARD 2 key key [LIMIT count]"),
    row(2, "SINTERCARD count (key)... [LIMIT integer]"),
    row(4, "SINTERSTORE key (key)..."),
    row(4, "SUNIONSTORE key (key)..."),
    row(4, "SDIFFSTORE key (key)..."),
    // Streams.
    row(
        20,
        "XADD key [NOMKSTREAM] [MAXLEN count|MAXLEN = index|MAXLEN ~ index|MAXLEN ~ 0 LIMIT index|MINID stream-id|MINID ~ stream-id] stream-id (field value)...",
    ),
    row(6, "XADD key stream-id field value"),
    row(3, "XLEN key"),
    row(5, "XRANGE key (stream-id|-) (stream-id|+) [COUNT index]"),
    row(5, "XREVRANGE key (stream-id|+) (stream-id|-) [COUNT index]"),
    row(4, "XDEL key (stream-id)..."),
    row(
        2,
        "XTRIM key (MAXLEN index|MAXLEN ~ index|MAXLEN ~ index LIMIT index|MINID stream-id|MINID = stream-id)",
    ),
    row(3, "XSETID key stream-id [ENTRIESADDED index] [MAXDELETEDID stream-id]"),
    row(
        4,
        "XREAD [COUNT index] STREAMS (key (stream-id|$|+|>)|key key (stream-id|$) (stream-id|+))",
    ),
    row(
        8,
        "XREADGROUP GROUP group consumer [COUNT index] [NOACK] STREAMS (key (>|stream-id|$)|key key > >)",
    ),
    // No larger ENTRIESREAD: from Redis 8.4 on, and here, it is no more than the entries that there were.
    row(6, "XGROUP CREATE key group (stream-id|$|0) [MKSTREAM] [ENTRIESREAD (0|-1|-2|value)]"),
    row(3, "XGROUP SETID key group (stream-id|$) [ENTRIESREAD (0|-1|-2|value)]"),
    row(
        3,
        "XGROUP (DESTROY key group|CREATECONSUMER key group consumer|DELCONSUMER key group consumer)",
    ),
    row(4, "XACK key group (stream-id)..."),
    row(
        4,
        "XPENDING key group [(stream-id|-) (stream-id|+) index|IDLE idle - + index|- + index consumer]",
    ),
    row(
        5,
        "XCLAIM key group consumer idle (stream-id)... [IDLE idle|TIME idle] [RETRYCOUNT index] [FORCE] [JUSTID] [LASTID stream-id]",
    ),
    row(4, "XAUTOCLAIM key group consumer idle (stream-id|-) [COUNT index] [JUSTID]"),
    row(4, "XINFO (GROUPS key|CONSUMERS key group)"),
    // Sorted sets.
    row(12, "ZADD key [NX|XX] [GT|LT] [CH] (float member)..."),
    row(3, "ZADD key [NX|XX] [GT|LT] INCR float member"),
    row(4, "ZINCRBY key float member"),
    row(4, "ZREM key (member)..."),
    row(2, "ZCARD key"),
    row(2, "ZSCORE key member"),
    row(2, "ZMSCORE key (member)..."),
    row(3, "ZRANK key member"),
    row(3, "ZREVRANK key member"),
    row(3, "ZCOUNT key float float"),
    row(2, "ZLEXCOUNT key (-|odd) (+|odd)"),
    row(4, "ZRANGE key index index [REV] [WITHSCORES]"),
    row(3, "ZRANGE key float float BYSCORE [REV] [LIMIT index index] [WITHSCORES]"),
    row(2, "ZREVRANGE key index index [WITHSCORES]"),
    row(2, "ZRANGEBYSCORE key (-inf|float) (+inf|float) [WITHSCORES]"),
    row(2, "ZREVRANGEBYSCORE key (+inf|float) (-inf|float) [WITHSCORES]"),
    row(1, "ZRANGEBYLEX key - +"),
    row(1, "ZREVRANGEBYLEX key + -"),
    row(2, "ZRANGESTORE key key index index [REV]"),
    row(2, "ZREMRANGEBYRANK key index index"),
    row(2, "ZREMRANGEBYSCORE key float float"),
    row(1, "ZREMRANGEBYLEX key (-|odd) (+|odd)"),
    row(3, "ZPOPMIN key [count]"),
    row(3, "ZPOPMAX key [count]"),
    row(2, "ZMPOP (1 key|2 key key|odd key) (MIN|MAX) [COUNT count]"),
    row(2, "ZRANDMEMBER key [count]"),
    row(2, "ZSCAN key 0 COUNT 1000000 [MATCH pattern]"),
    // Infinite scores and weights of 0 make NaN.
    row(3, "ZADD key (INF|-INF|0) member"),
    row(2, "ZUNION 2 key key [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]"),
    row(
        4,
        "ZINTER 2 key key [WEIGHTS (0|INF|float) (0|-INF|float)] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]",
    ),
    row(2, "ZDIFF 2 key key [WITHSCORES]"),
    row(2, "ZINTERCARD 2 key key [LIMIT integer]"),
    row(
        4,
        "ZUNIONSTORE key 2 key key [WEIGHTS (0|INF|float) (0|-INF|float)] [AGGREGATE (SUM|MIN|MAX)]",
    ),
    row(
        4,
        "ZINTERSTORE key 2 key key [WEIGHTS (0|INF|float) (0|-INF|float)] [AGGREGATE (SUM|MIN|MAX)]",
    ),
    row(2, "ZDIFFSTORE key 2 key key"),
    // Geo.
    row(8, "GEOADD map (longitude latitude spot)..."),
    row(3, "GEOADD map (NX|XX|CH|NX CH|CH XX|XX NX) (longitude latitude spot)..."),
    row(1, "GEOADD key longitude latitude member"),
    row(2, "ZREM map (spot)..."),
    row(1, "ZADD map (integer spot)..."),
    row(2, "GEODIST map spot spot [M|KM|FT|MI|odd]"),
    row(2, "GEOHASH map (spot)..."),
    row(2, "GEOPOS map (spot)..."),
    row(
        10,
        "GEOSEARCH map (FROMMEMBER spot|FROMLONLAT longitude latitude) \
         (BYRADIUS radius (M|KM|FT|MI)|BYBOX radius radius (M|KM|FT|MI)) \
         [ASC|DESC] [COUNT few|COUNT few ANY] [WITHCOORD] [WITHDIST] [WITHHASH]",
    ),
    row(
        3,
        "GEORADIUS map longitude latitude radius (M|KM|FT|MI) \
         [ASC|DESC] [COUNT few|COUNT few ANY] [WITHCOORD] [WITHDIST] [WITHHASH]",
    ),
    row(2, "GEORADIUS map longitude latitude radius (M|KM|FT|MI) [STORE map] [COUNT few]"),
    row(
        2,
        "GEORADIUS_RO map longitude latitude radius (M|KM|odd) [ASC|DESC] [COUNT few] [WITHDIST]",
    ),
    row(3, "GEORADIUSBYMEMBER map spot radius (M|KM|FT|MI) [ASC|DESC] [WITHDIST] [STORE map]"),
    row(2, "GEORADIUSBYMEMBER_RO map spot radius (M|KM|FT|odd) [ASC|DESC] [WITHHASH] [COUNT few]"),
    row(
        4,
        "GEOSEARCHSTORE map map (FROMMEMBER spot|FROMLONLAT longitude latitude) \
         (BYRADIUS radius (M|KM|FT|MI)|BYBOX radius radius (M|KM|FT|MI)) \
         [ASC|DESC] [COUNT few]",
    ),
    // SORT. Elements that compare equal keep each server's own order, so no texts of other keys,
    // and no unsorted sets.
    row(4, "RPUSH roll (ident)..."),
    row(1, "ZADD roll (integer ident)..."),
    row(3, "SADD pool (ident)..."),
    row(1, "DEL (roll|pool)"),
    row(3, "SET weight (float|integer)"),
    row(3, "HSET fruit (1 integer|1 float|2 value)..."),
    row(
        6,
        "SORT (roll|pool) [ALPHA] [LIMIT index index] [GET get-pattern] [GET get-pattern] [ASC|DESC]",
    ),
    row(
        8,
        "SORT (roll|pool) BY by-pattern [LIMIT index index] [GET get-pattern] [GET get-pattern] \
         [ASC|DESC] [STORE roll]",
    ),
    row(3, "SORT roll BY NOSORT [LIMIT index index] [GET get-pattern] [ASC|DESC] [STORE roll]"),
    row(2, "SORT pool BY NOSORT [LIMIT index index] [ASC|DESC] STORE roll"),
    row(3, "SORT_RO (roll|pool|key) [ALPHA] [LIMIT index index] [GET get-pattern] [ASC|DESC]"),
    // Keys.
    row(4, "DEL (key)..."),
    row(2, "UNLINK (key)..."),
    row(3, "EXISTS (key)..."),
    row(2, "TOUCH (key)..."),
    row(2, "TYPE key"),
    row(3, "TTL key"),
    row(3, "PTTL key"),
    row(3, "EXPIRETIME key"),
    row(3, "PEXPIRETIME key"),
    row(4, "EXPIRE key seconds [NX|XX|GT|LT]"),
    row(4, "PEXPIRE key ms [NX|XX] [GT|LT]"),
    row(6, "EXPIREAT key unix-seconds [NX|XX|GT|LT|XX GT|XX LT|NX LT|GT LT]"),
    row(6, "PEXPIREAT key unix-ms [NX|XX|GT|LT]"),
    row(4, "PERSIST key"),
    row(4, "RENAME key key"),
    row(3, "RENAMENX key key"),
    row(5, "COPY key key [DB database] [REPLACE]"),
    row(3, "OBJECT ENCODING key"),
    row(1, "ROLE"),
    row(1, "ACL WHOAMI"),
    row(1, "MEMORY USAGE key SAMPLES (odd|-1)"),
    row(2, "KEYS pattern"),
    row(2, "RANDOMKEY"),
    row(3, "SCAN 0 COUNT count [MATCH pattern] [TYPE type]"),
    row(1, "SCAN integer"),
    row(2, "DBSIZE"),
    // Connections and the server.
    row(1, "PING [value]"),
    row(1, "ECHO value"),
    row(2, "SELECT database"),
    row(1, "HELLO [2|3|integer] [SETNAME name]"),
    row(2, "CLIENT (ID|GETNAME|SETNAME name|UNBLOCK integer|GETREDIR|odd)"),
    row(1, "CLIENT (NO-EVICT|REPLY) odd"),
    row(1, "AUTH value [value]"),
    row(1, "COMMAND (GETKEYS (GET key|MSET (key value)...|COPY key key|odd key)|COUNT odd|odd)"),
    row(1, "INFO odd"),
    row(1, "OBJECT (FREQ|IDLETIME|odd) key"),
    // Transactions; the driver does not nest them, see `steps`.
    row(10, "MULTI"),
    row(25, "EXEC"),
    row(1, "DISCARD"),
    row(1, "UNWATCH"),
    row(1, "RESET"),
    row(1, "FLUSHDB [SYNC|ASYNC]"),
    row(1, "NOSUCHCOMMAND [value] [value]"),
    row(1, "CONFIG GET (MAXCLIENTS|TIMEOUT|odd)"),
    row(1, "CONFIG (SET odd odd|RESETSTAT odd|odd)"),
    row(1, "ASKING"),
];

/// Commands that may block. One client sends one of them alone, another one continues, and clients
/// still blocked then are unblocked. Each waits for one key: with keys on several shards, a waiting
/// client may be served a little later than the command that made its key ready is answered.
pub const WAITING_ROWS: &[Row] = &[
    row(1, "BLPOP key 0"),
    row(1, "BRPOP key 0"),
    row(1, "BLMPOP 0 1 key (LEFT|RIGHT) [COUNT count]"),
    row(1, "BZPOPMIN key 0"),
    row(1, "BZPOPMAX key 0"),
    row(1, "BZMPOP 0 1 key (MIN|MAX) [COUNT count]"),
    row(1, "XREAD [COUNT index] BLOCK 0 STREAMS key (stream-id|$|+|>)"),
    row(1, "XREADGROUP GROUP group consumer [COUNT index] BLOCK 0 [NOACK] STREAMS key >"),
];

/// Commands without a row, and why.
pub const NOT_RANDOM: &[(&str, &str)] = &[
    ("wait", "a spoiled request would wait for ever"),
    ("waitaof", "a spoiled request would wait for ever"),
    ("monitor", "it makes another connection of it"),
    ("watch", "inside MULTI Valkey 9 refuses it and aborts, where Redis refuses it and goes on"),
    ("latency", "how long commands take is each server's own affair"),
    ("slowlog", "what is slow is each server's own affair"),
    ("hotkeys", "a command of Redis 8.6: no oracle at hand knows it"),
    ("pfselftest", "it says OK and takes long"),
    ("blmove", "its keys may be on two shards, see `WAITING_ROWS`; there are tests for waiting"),
    (
        "brpoplpush",
        "its keys may be on two shards, see `WAITING_ROWS`; there are tests for waiting",
    ),
    ("xackdel", "a command of Redis 8.2: no oracle at hand knows it"),
    ("xdelex", "a command of Redis 8.2: no oracle at hand knows it"),
    ("xcfgset", "a command of Redis 8.6: no oracle at hand knows it"),
    ("xidmprecord", "a command of Redis 8.6: no oracle at hand knows it"),
    ("increx", "a command of Redis 8.8: no oracle at hand knows it"),
    ("xnack", "a command of Redis 8.8: no oracle at hand knows it"),
    ("cl.throttle", "a command of redis-cell and Dragonfly: no oracle at hand knows it"),
    ("delex", "a command of Redis 8.4: no oracle at hand knows it"),
    ("digest", "a command of Redis 8.4: no oracle at hand knows it"),
    ("blmovem", "a command of Redis 8.10: no oracle at hand knows it"),
    ("himport", "a command of Redis 8.10: no oracle at hand knows it"),
    ("lmovem", "a command of Redis 8.10: no oracle at hand knows it"),
    ("sdiffcard", "a command of Redis 8.10: no oracle at hand knows it"),
    ("sunioncard", "a command of Redis 8.10: no oracle at hand knows it"),
    ("debug", "it changes the server itself, and each server has its own"),
    ("flushall", "each run begins with it; FLUSHDB stands for both"),
    ("lastsave", "two clocks"),
    ("lolwut", "a picture and a version"),
    ("module", "each server has its own modules"),
    ("quit", "it ends the connection in the middle of a pipeline; a process test does that"),
    ("readonly", "Valkey 9 says OK to it without a cluster, too"),
    ("readwrite", "Valkey 9 says OK to it without a cluster, too"),
    ("shutdown", "a spoiled request would end the server"),
    ("subscribe", "it makes a subscriber of the connection; simulation and transcripts try it"),
    ("unsubscribe", "it makes a subscriber of the connection; simulation and transcripts try it"),
    ("psubscribe", "it makes a subscriber of the connection; simulation and transcripts try it"),
    ("punsubscribe", "it makes a subscriber of the connection; simulation and transcripts try it"),
    ("ssubscribe", "it makes a subscriber of the connection; simulation and transcripts try it"),
    ("sunsubscribe", "it makes a subscriber of the connection; simulation and transcripts try it"),
    ("publish", "a random run has no subscribers; simulation and transcripts try it"),
    ("spublish", "a random run has no subscribers; simulation and transcripts try it"),
    ("pubsub", "a random run has no subscribers; simulation and transcripts try it"),
    ("dump", "each server encodes in its own way; golden payloads are read by all"),
    ("restore", "random bytes are refused; fuzz targets and golden payloads try it"),
    ("restore-asking", "random bytes are refused; fuzz targets and golden payloads try it"),
    ("eval", "random words are no script; recorded scripts and simulation try it"),
    ("eval_ro", "random words are no script; recorded scripts and simulation try it"),
    ("evalsha", "random words are no script; recorded scripts and simulation try it"),
    ("evalsha_ro", "random words are no script; recorded scripts and simulation try it"),
    ("script", "random words are no script; recorded scripts and simulation try it"),
    ("fcall", "random words name no function; recorded transcripts try it"),
    ("fcall_ro", "random words name no function; recorded transcripts try it"),
    ("function", "random words are no library; recorded transcripts try it"),
    ("save", "it writes a file; simulation and process tests try it"),
    ("bgrewriteaof", "it writes files; simulation and process tests try it"),
    ("bgsave", "it writes a file; simulation and process tests try it"),
    ("time", "two clocks"),
];

/// A row for commands that not every server has; it is used if both reply to the probe without an
/// error.
pub struct RowIfKnown {
    pub probe: &'static str,
    pub row: Row,
}

const fn row_if(probe: &'static str, weight: usize, grammar: &'static str) -> RowIfKnown {
    RowIfKnown { probe, row: row(weight, grammar) }
}

/// Newer commands and options, and those that ours may lack.
pub const ROWS_IF_KNOWN: &[RowIfKnown] = &[
    row_if("HSCAN probe 0 NOVALUES", 1, "HSCAN key 0 COUNT count NOVALUES"),
    row_if("HTTL probe FIELDS 1 f", 4, "HEXPIRE key seconds [NX|XX|GT|LT] FIELDS 2 field field"),
    row_if("HTTL probe FIELDS 1 f", 3, "HPEXPIRE key ms [NX|XX|GT|LT] FIELDS 1 field"),
    row_if("HTTL probe FIELDS 1 f", 4, "HEXPIREAT key unix-seconds [NX|XX] FIELDS 1 field"),
    row_if("HTTL probe FIELDS 1 f", 4, "HPEXPIREAT key unix-ms [GT|LT] FIELDS 2 field field"),
    row_if("HTTL probe FIELDS 1 f", 2, "HTTL key FIELDS 2 field field"),
    row_if("HTTL probe FIELDS 1 f", 2, "HPTTL key FIELDS 1 field"),
    row_if("HTTL probe FIELDS 1 f", 2, "HEXPIRETIME key FIELDS 2 field field"),
    row_if("HTTL probe FIELDS 1 f", 2, "HPEXPIRETIME key FIELDS 1 field"),
    row_if("HTTL probe FIELDS 1 f", 3, "HPERSIST key FIELDS 2 field field"),
    row_if(
        "HGETEX probe FIELDS 1 f",
        4,
        "HGETEX key [EX seconds|PX ms|EXAT unix-seconds|PXAT unix-ms|PERSIST] FIELDS 2 field field",
    ),
    row_if(
        "HSETEX probe XX FIELDS 1 f v",
        6,
        "HSETEX key [NX|XX] [FNX|FXX] [EX seconds|PX ms|EXAT unix-seconds|PXAT unix-ms|KEEPTTL] \
         FIELDS 2 field value field value",
    ),
    row_if("HGETDEL probe FIELDS 1 f", 3, "HGETDEL key FIELDS 2 field field"),
    row_if("MOVE probe 1", 2, "MOVE key database"),
    row_if("SWAPDB 0 0", 1, "SWAPDB database database"),
    row_if("SET probe v IFEQ w", 4, "SET key value IFEQ value [GET] [EX seconds|KEEPTTL]"),
    row_if("DELIFEQ probe v", 2, "DELIFEQ key value"),
    row_if(
        "ZUNION 1 probe AGGREGATE COUNT",
        3,
        "ZUNION 2 key key [WEIGHTS (0|INF|float) (0|-INF|float)] AGGREGATE COUNT [WITHSCORES]",
    ),
    row_if("ZUNION 1 probe AGGREGATE COUNT", 3, "ZINTERSTORE key 2 key key AGGREGATE COUNT"),
    row_if(
        "XREAD MAXCOUNT 1 STREAMS probe 0",
        4,
        "XREAD [COUNT few] MAXCOUNT (few|index) [MAXSIZE 100000] STREAMS key key (stream-id|$) (stream-id|+)",
    ),
    row_if(
        "XREAD MAXCOUNT 1 STREAMS probe 0",
        4,
        "XREADGROUP GROUP group consumer [COUNT few] [MAXCOUNT few] [MAXSIZE (1|100000)] STREAMS key key > (>|stream-id)",
    ),
    row_if(
        "XREAD MAXCOUNT 1 STREAMS probe 0",
        3,
        "XREADGROUP GROUP group consumer [COUNT few] CLAIM (0|1000000000|odd) STREAMS key >",
    ),
    // No polygons: random ones may span half the globe, where Valkey searches too few cells and misses members.
    // A property test measures every member.
    // Redis 7 reckons and prints the last digits otherwise.
    row_if(
        "GEOSEARCH probe BYPOLYGON 3 0 0 1 1 2 0",
        4,
        "GEOSEARCHSTORE map map (FROMMEMBER spot|FROMLONLAT longitude latitude) \
         [BYRADIUS radius (M|KM|FT|MI)|BYBOX radius radius (M|KM|FT|MI)] [COUNT few] STOREDIST",
    ),
    row_if(
        "CLIENT NO-TOUCH OFF",
        1,
        "CLIENT (NO-TOUCH (ON|OFF|odd)|SETINFO (LIB-NAME|LIB-VER|odd) name)",
    ),
    row_if(
        "MSETEX 1 probe v XX",
        3,
        "MSETEX (1 key value|2 key value key value|integer key value) [NX|XX] [EX seconds|PXAT unix-ms|KEEPTTL]",
    ),
];

/// Every way to compare other than "the same bytes" is listed here.
pub fn comparison(request: &[Vec<u8>]) -> Comparison {
    let word =
        |index: usize| request.get(index).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match word(0).as_slice() {
        // The moment is relative to each server's own clock.
        b"TTL" | b"EXPIRETIME" | b"HTTL" | b"HEXPIRETIME" => Comparison::Seconds,
        b"PTTL" | b"PEXPIRETIME" | b"HPTTL" | b"HPEXPIRETIME" => Comparison::Milliseconds,
        // The meaning of a cursor and the size of a page are each server's own.
        b"SCAN" if word(1) != b"0" || !has_large_count(request) => Comparison::SameKind,
        b"HSCAN" if word(2) != b"0" || !has_large_count(request) => Comparison::SameKind,
        b"KEYS" | b"SCAN" | b"HGETALL" | b"HKEYS" | b"HVALS" | b"HSCAN" => Comparison::AnyOrder,
        // Some of many are chosen at random.
        b"SRANDMEMBER" if word(2) != b"1000000" => Comparison::SameKind,
        b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"SPOP" | b"SSCAN" | b"SRANDMEMBER" => {
            Comparison::AnyOrder
        }
        b"RANDOMKEY" | b"HRANDFIELD" | b"ZRANDMEMBER" | b"ZSCAN" => Comparison::SameKind,
        b"HELLO" | b"INFO" => Comparison::SameKind,
        // Each server has its own blocks.
        b"MEMORY" if word(1) == b"USAGE" => Comparison::SameKind,
        // Each server has its own commands.
        b"COMMAND" if matches!(word(1).as_slice(), b"" | b"COUNT" | b"LIST" | b"DOCS") => {
            Comparison::SameKind
        }
        b"CLIENT" if word(1) == b"ID" => Comparison::SameKind,
        // A consumer's idle time is relative to each server's own clock; and ours has no radix tree
        // whose nodes could be counted.
        b"XPENDING" => Comparison::Milliseconds,
        b"XINFO" if word(1) != b"GROUPS" => Comparison::Milliseconds,
        b"OBJECT" if word(1) == b"IDLETIME" => Comparison::Seconds,
        _ => Comparison::Exact,
    }
}

/// How to compare two replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Exact,
    /// Integers are times in seconds, relative to each server's own clock; all else is exact.
    Seconds,
    /// The same in milliseconds.
    Milliseconds,
    /// The innermost lists are sets.
    AnyOrder,
    /// Errors are exact; of other replies only the type is compared.
    SameKind,
}

/// Whether such a SCAN returns all of a run's keys at once.
fn has_large_count(request: &[Vec<u8>]) -> bool {
    request.windows(2).any(|pair| pair[0].eq_ignore_ascii_case(b"COUNT") && pair[1].len() >= 5)
}
