//! Commands: the requests of workloads, as rows of data.
//!
//! A row has the request, the data that the server holds before, and how the request changes it. If
//! redis-benchmark has a test of the same name, it sends the same.

use crate::datasets::{self, Dataset, LONG_LIST_ELEMENTS, MILLION};

/// The placeholder for random digits.
pub(crate) const DIGITS: char = '#';
/// The placeholder for the workload's value.
pub(crate) const VALUE: char = '@';

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// The words of the request, with `DIGITS` and `VALUE` in them; `|` separates several commands
    /// that count as one request.
    request: &'static str,
    pub(crate) dataset: &'static Dataset,
    /// The random digits are a number below this, unless the workload has a number of keys.
    pub(crate) range: u64,
    /// Whether an empty reply (null, zero, an empty string or array) is a failure.
    pub(crate) finds: bool,
    pub(crate) mutation: Mutation,
}

/// How requests change the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mutation {
    /// Not at all: every request finds the same data.
    None,
    /// It grows or shrinks: it is loaded anew before each round, which has no more requests than
    /// this.
    Requests(u64),
}

/// Rows are identified by their names.
impl PartialEq for Command {
    fn eq(&self, other: &Command) -> bool {
        self.name == other.name
    }
}

impl Command {
    /// The commands of one request, each with its words.
    pub(crate) fn sent(&self) -> impl Iterator<Item = impl Iterator<Item = &'static str>> {
        self.request.split(" | ").map(|command| command.split(' '))
    }

    /// The number of replies to a request.
    pub(crate) fn replies(&self) -> u64 {
        self.sent().count() as u64
    }

    /// The number of commands with keys in a request.
    pub(crate) fn about_keys(&self) -> u64 {
        let names = self.sent().filter_map(|mut words| words.next());
        names.filter(|name| !["MULTI", "EXEC"].contains(name)).count() as u64
    }

    /// The number of values in a request and its replies.
    pub(crate) fn values(&self) -> usize {
        if !self.dataset.is_sized() {
            return 0;
        }
        self.request.matches(VALUE).count().max(1)
    }
}

/// Finds its data and does not change it.
const fn finds(
    name: &'static str,
    request: &'static str,
    dataset: &'static Dataset,
    range: u64,
) -> Command {
    Command { name, request, dataset, range, finds: true, mutation: Mutation::None }
}

/// Does not change its data, whatever it finds.
const fn keeps(
    name: &'static str,
    request: &'static str,
    dataset: &'static Dataset,
    range: u64,
) -> Command {
    Command { name, request, dataset, range, finds: false, mutation: Mutation::None }
}

/// Adds to its data.
const fn grows(
    name: &'static str,
    request: &'static str,
    dataset: &'static Dataset,
    range: u64,
) -> Command {
    let mutation = Mutation::Requests(GROWTH_MAX);
    Command { name, request, dataset, range, finds: false, mutation }
}

/// Removes from `items` items, and always finds some.
const fn takes(
    name: &'static str,
    request: &'static str,
    dataset: &'static Dataset,
    items: u64,
) -> Command {
    // The remaining tenth serves warm-up and complete pipelines.
    let mutation = Mutation::Requests(items / 10 * 9);
    Command { name, request, dataset, range: 1, finds: true, mutation }
}

/// LIMIT: items that a round adds.
const GROWTH_MAX: u64 = 2 * MILLION;

pub(crate) static COMMANDS: &[Command] = &[
    keeps("ping", "PING", &datasets::NOTHING, 1),
    keeps("set", "SET key:# @", &datasets::STRINGS, MILLION),
    finds("get", "GET key:#", &datasets::STRINGS, MILLION),
    keeps("incr", "INCR counter:#", &datasets::COUNTERS, MILLION),
    keeps(
        "mset",
        "MSET key:# @ key:# @ key:# @ key:# @ key:# @ key:# @ key:# @ key:# @ key:# @ key:# @",
        &datasets::STRINGS,
        MILLION,
    ),
    finds("getrange", "GETRANGE text:# 100 199", &datasets::TEXTS, 100_000),
    keeps("setbit", "SETBIT bitmap:# 777 1", &datasets::BITMAPS, 100_000),
    finds("bitcount", "BITCOUNT bits", &datasets::BITS, 1),
    grows("pfadd", "PFADD hll:a element:#", &datasets::HYPERLOGLOGS, MILLION),
    finds("pfcount", "PFCOUNT hll:a", &datasets::HYPERLOGLOGS, 1),
    finds("pfcount_2", "PFCOUNT hll:a hll:b", &datasets::HYPERLOGLOGS, 1),
    finds("scan", "SCAN # COUNT 10", &datasets::STRINGS, MILLION),
    grows("lpush", "LPUSH mylist xxx", &datasets::NOTHING, 1),
    grows("rpush", "RPUSH mylist xxx", &datasets::NOTHING, 1),
    takes("lpop", "LPOP mylist", &datasets::LONG_LIST, LONG_LIST_ELEMENTS),
    takes("rpop", "RPOP mylist", &datasets::LONG_LIST, LONG_LIST_ELEMENTS),
    finds("lrange_100", "LRANGE mylist 0 99", &datasets::LIST, 1),
    finds("lrange_300", "LRANGE mylist 0 299", &datasets::LIST, 1),
    finds("lrange_600", "LRANGE mylist 0 599", &datasets::LIST, 1),
    grows("hset", "HSET myhash element:# xxx", &datasets::NOTHING, MILLION),
    keeps("hset_10", "HSET hash:# f5 val654321", &datasets::HASHES, 100_000),
    finds("hget", "HGET myhash element:#", &datasets::HASH, MILLION),
    finds("hget_10", "HGET hash:# f5", &datasets::HASHES, 100_000),
    finds("hgetall_10", "HGETALL hash:#", &datasets::HASHES, 100_000),
    finds("hgetall_1000", "HGETALL hash:#", &datasets::BIG_HASHES, 100),
    grows("sadd", "SADD myset element:#", &datasets::NOTHING, MILLION),
    takes("spop", "SPOP myset", &datasets::SET, MILLION),
    finds("sismember", "SISMEMBER myset element:#", &datasets::SET, MILLION),
    finds("smembers_1000", "SMEMBERS set:#", &datasets::SETS, 100),
    finds("sinter", "SINTER set:a set:b", &datasets::SET_PAIR, 1),
    grows("zadd", "ZADD myzset # element:#", &datasets::NOTHING, MILLION),
    takes("zpopmin", "ZPOPMIN myzset", &datasets::SORTED_SET, MILLION),
    finds("zscore", "ZSCORE myzset element:#", &datasets::SORTED_SET, MILLION),
    // One member has rank 0, which counts as empty.
    keeps("zrank", "ZRANK myzset element:#", &datasets::SORTED_SET, MILLION),
    finds("zrange_100", "ZRANGE myzset 0 99", &datasets::SORTED_SET, 1),
    finds(
        "zrangebyscore",
        "ZRANGEBYSCORE myzset # +inf LIMIT 0 10",
        &datasets::SORTED_SET,
        MILLION,
    ),
    grows("xadd", "XADD mystream * myfield xxx", &datasets::NOTHING, 1),
    // The last hundred entries have enough successors for a full reply.
    finds("xrange_100", "XRANGE mystream # + COUNT 100", &datasets::STREAM, 99_900),
    finds(
        "geosearch",
        "GEOSEARCH places FROMMEMBER place:# BYRADIUS 100 km ASC COUNT 10",
        &datasets::PLACES,
        100_000,
    ),
    finds("multi", "MULTI | SET key:# @ | SET key:# @ | EXEC", &datasets::STRINGS, MILLION),
    keeps(
        "multi_lmove",
        "MULTI | LMOVE mylist mylist LEFT RIGHT | SET key:# xxx | GET key:# | INCR count | EXEC",
        &datasets::LIST,
        MILLION,
    ),
    keeps(
        "multi_rename",
        "MULTI | SET from xxx | RENAME from to | SET key:# xxx | GET key:# | EXEC",
        &datasets::NOTHING,
        MILLION,
    ),
    // Both keys are hot; foo's slot is in the upper half, bar's in the lower.
    finds("hot", "MULTI | INCR foo | INCR bar | EXEC", &datasets::NOTHING, 1),
    keeps("getset", GET_AND_SET, &datasets::STRINGS, MILLION),
    keeps("getset_multi", GET_AND_SET_AND_MULTI, &datasets::STRINGS, MILLION),
];

/// Twenty requests.
const GET_AND_SET: &str = "GET key:# | SET key:# @ | GET key:# | SET key:# @ | GET key:# | \
    SET key:# @ | GET key:# | SET key:# @ | GET key:# | SET key:# @ | GET key:# | SET key:# @ | \
    GET key:# | SET key:# @ | GET key:# | SET key:# @ | GET key:# | SET key:# @ | GET key:# | \
    SET key:# @";

/// The same, but every tenth is a transaction of four keys.
const GET_AND_SET_AND_MULTI: &str = "GET key:# | SET key:# @ | GET key:# | SET key:# @ | \
    MULTI | SET key:# @ | GET key:# | SET key:# @ | GET key:# | EXEC | GET key:# | SET key:# @ | \
    GET key:# | SET key:# @ | GET key:# | SET key:# @ | GET key:# | SET key:# @ | GET key:# | \
    SET key:# @ | MULTI | SET key:# @ | GET key:# | SET key:# @ | GET key:# | EXEC | GET key:# | \
    SET key:# @ | GET key:# | SET key:# @";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> &'static Command {
        COMMANDS.iter().find(|command| command.name == name).unwrap()
    }

    #[test]
    fn requests_are_cut_into_commands_and_words() {
        let words: Vec<Vec<&str>> = row("multi").sent().map(Iterator::collect).collect();
        assert_eq!(words[0], ["MULTI"]);
        assert_eq!(words[1], ["SET", "key:#", "@"]);
        assert_eq!((row("multi").replies(), row("multi").about_keys()), (4, 2));
        assert!(COMMANDS.iter().all(|row| row.sent().flatten().all(|word| !word.is_empty())));
    }

    #[test]
    fn a_tenth_of_the_mixed_requests_are_transactions() {
        let mixed = row("getset_multi");
        let transactions = mixed.sent().flatten().filter(|word| *word == "MULTI").count() as u64;
        assert_eq!(row("getset").about_keys(), 20);
        assert_eq!((transactions, mixed.about_keys() - 4 * transactions), (2, 18));
    }
}
