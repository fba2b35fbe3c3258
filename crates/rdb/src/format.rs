//! Format: the numbers of the RDB format, as in Redis' and Valkey's `rdb.h`.

/// Types of values.
pub(crate) mod kind {
    pub(crate) const STRING: u8 = 0;
    pub(crate) const LIST: u8 = 1;
    pub(crate) const SET: u8 = 2;
    /// Scores as text.
    pub(crate) const ZSET: u8 = 3;
    pub(crate) const HASH: u8 = 4;
    /// Scores as 8 bytes.
    pub(crate) const ZSET_2: u8 = 5;
    pub(crate) const MODULE_PRE_GA: u8 = 6;
    pub(crate) const MODULE_2: u8 = 7;
    pub(crate) const HASH_ZIPMAP: u8 = 9;
    pub(crate) const LIST_ZIPLIST: u8 = 10;
    pub(crate) const SET_INTSET: u8 = 11;
    pub(crate) const ZSET_ZIPLIST: u8 = 12;
    pub(crate) const HASH_ZIPLIST: u8 = 13;
    pub(crate) const LIST_QUICKLIST: u8 = 14;
    pub(crate) const STREAM: u8 = 15;
    pub(crate) const HASH_LISTPACK: u8 = 16;
    pub(crate) const ZSET_LISTPACK: u8 = 17;
    pub(crate) const LIST_QUICKLIST_2: u8 = 18;
    /// With the first ID, the largest deleted one and counters.
    pub(crate) const STREAM_2: u8 = 19;
    pub(crate) const SET_LISTPACK: u8 = 20;
    /// With the time when a consumer was last active.
    pub(crate) const STREAM_3: u8 = 21;
    /// In the Redis family fields with their expiry (release candidates of 7.4), in Valkey's the
    /// same in another order.
    pub(crate) const HASH_EXPIRING_22: u8 = 22;
    pub(crate) const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    /// Redis: fields with expiries relative to the smallest.
    pub(crate) const HASH_METADATA: u8 = 24;
    /// Redis: the same in a listpack, with absolute expiries.
    pub(crate) const HASH_LISTPACK_EX: u8 = 25;
    /// With producers (Redis 8.6).
    pub(crate) const STREAM_4: u8 = 26;
    /// With pending entries that no consumer owns (Redis 8.8).
    pub(crate) const STREAM_5: u8 = 27;
}

/// What a file has besides values.
pub(crate) mod opcode {
    /// Metadata of modules for a key (Redis 8.6).
    pub(crate) const KEY_META: u8 = 243;
    pub(crate) const SLOT_INFO: u8 = 244;
    pub(crate) const FUNCTION_2: u8 = 245;
    pub(crate) const FUNCTION_PRE_GA: u8 = 246;
    pub(crate) const MODULE_AUX: u8 = 247;
    pub(crate) const IDLE: u8 = 248;
    pub(crate) const FREQ: u8 = 249;
    pub(crate) const AUX: u8 = 250;
    pub(crate) const RESIZE_DB: u8 = 251;
    pub(crate) const EXPIRE_TIME_MS: u8 = 252;
    pub(crate) const EXPIRE_TIME: u8 = 253;
    pub(crate) const SELECT_DB: u8 = 254;
    pub(crate) const EOF: u8 = 255;
}

/// The parts of a module's value.
pub(crate) mod module {
    pub(crate) const EOF: u64 = 0;
    pub(crate) const SIGNED: u64 = 1;
    pub(crate) const UNSIGNED: u64 = 2;
    pub(crate) const FLOAT: u64 = 3;
    pub(crate) const DOUBLE: u64 = 4;
    pub(crate) const STRING: u64 = 5;
}

/// Special encodings of a string: behind the two top bits of its length.
pub(crate) mod string {
    pub(crate) const INT_8: u8 = 0;
    pub(crate) const INT_16: u8 = 1;
    pub(crate) const INT_32: u8 = 2;
    pub(crate) const LZF: u8 = 3;
}

/// The newest version of the Redis family that is read (Redis 8.8).
pub(crate) const VERSION_REDIS_MAX: u32 = 14;
/// The first version of Valkey's own.
pub(crate) const VERSION_VALKEY_MIN: u32 = 80;
/// The newest of Valkey's that is read (Valkey 9.2).
pub(crate) const VERSION_VALKEY_MAX: u32 = 81;

/// A node of a quicklist that is one element.
pub(crate) const QUICKLIST_PLAIN: u64 = 1;
/// A node of a quicklist that is a listpack.
pub(crate) const QUICKLIST_PACKED: u64 = 2;

/// What a stream's listpack says of an entry.
pub(crate) const STREAM_ENTRY_DELETED: i64 = 1;
/// The entry has the fields of the first.
pub(crate) const STREAM_ENTRY_SAME_FIELDS: i64 = 1 << 1;

/// Appends the length of a listpack's element as it is written behind it: 7 bits a byte, the highest first, and the
/// top bit set in all but the first.
pub(crate) fn put_length_backwards(out: &mut Vec<u8>, len: usize) {
    let bytes = match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    for place in (0..bytes).rev() {
        let bits = (len >> (7 * place) & 0x7F) as u8;
        out.push(if place + 1 == bytes { bits } else { bits | 0x80 });
    }
}
