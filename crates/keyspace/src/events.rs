//! Events: the keyspace events that changes raise, under Redis' names and classes.
//!
//! A kind of effect has a default event (`sadd` for members that are added); a command whose event has
//! another name says so (`Edit::as_event`). `new`, `overwritten`, `type_changed` and the `del` of an emptied key
//! follow from what the key held before and holds afterwards. Names and classes are those of Redis' sources
//! (`notify.c` and the callers of `notifyKeyspaceEvent`).
//!
//! Not here: who is notified, and how (Pub/Sub).

use std::collections::VecDeque;

use basalt_structures::{Kind, Side};

use crate::DatabaseId;
use crate::codec::Cause;
use crate::collections::{HashChange, ListChange, SetChange, SortedChange, StreamChange};
use crate::effect::Effect;
use crate::limits::EVENTS_MAX;

/// Classes of events, as `notify-keyspace-events` selects them: a bit for each letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u32);

/// The letters, each at the place of its bit.
const LETTERS: &[u8] = b"g$lshzxetdnmoc";

impl EventClasses {
    pub const NONE: Self = Self(0);
    pub const GENERIC: Self = Self(1);
    pub const STRING: Self = Self(1 << 1);
    pub const LIST: Self = Self(1 << 2);
    pub const SET: Self = Self(1 << 3);
    pub const HASH: Self = Self(1 << 4);
    pub const SORTED: Self = Self(1 << 5);
    pub const EXPIRED: Self = Self(1 << 6);
    pub const EVICTED: Self = Self(1 << 7);
    pub const STREAM: Self = Self(1 << 8);
    pub const NEW: Self = Self(1 << 10);
    pub const OVERWRITTEN: Self = Self(1 << 12);
    pub const TYPE_CHANGED: Self = Self(1 << 13);
    /// What the letter `A` stands for: all but `m`, `n`, `o` and `c`.
    pub const ALL: Self = Self((1 << 10) - 1);

    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The classes that letters select, `A` included; `None` where one is not known. `K` and `E` are not
    /// classes.
    pub fn parse(letters: &[u8]) -> Option<Self> {
        letters.iter().try_fold(Self::NONE, |classes, letter| {
            let more = match LETTERS.iter().position(|known| known == letter) {
                Some(bit) => Self(1 << bit),
                None if *letter == b'A' => Self::ALL,
                None => return None,
            };
            Some(classes.or(more))
        })
    }
}

/// A keyspace event: its class, and its name in channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub class: EventClasses,
    pub name: &'static str,
}

/// The events of one change, in their order.
pub type Events = &'static [Event];

const fn event(class: EventClasses, name: &'static str) -> Event {
    Event { class, name }
}

macro_rules! events {
    ($($constant:ident: $class:ident $name:literal;)*) => {
        $(pub const $constant: Events = &[event(EventClasses::$class, $name)];)*
    };
}

/// Events by name, for [`Edit::as_event`](crate::Edit::as_event).
pub mod event {
    use super::{EventClasses, Events, event};

    /// For changes that Redis does not notify of.
    pub const NONE: Events = &[];

    events! {
        DEL: GENERIC "del";
        EXPIRE: GENERIC "expire";
        PERSIST: GENERIC "persist";
        RENAME_FROM: GENERIC "rename_from";
        RENAME_TO: GENERIC "rename_to";
        MOVE_FROM: GENERIC "move_from";
        MOVE_TO: GENERIC "move_to";
        COPY_TO: GENERIC "copy_to";
        RESTORE: GENERIC "restore";
        EXPIRED: EXPIRED "expired";
        EVICTED: EVICTED "evicted";
        NEW: NEW "new";
        OVERWRITTEN: OVERWRITTEN "overwritten";
        TYPE_CHANGED: TYPE_CHANGED "type_changed";
        SET: STRING "set";
        APPEND: STRING "append";
        SETRANGE: STRING "setrange";
        SETBIT: STRING "setbit";
        INCRBY: STRING "incrby";
        INCRBYFLOAT: STRING "incrbyfloat";
        PFADD: STRING "pfadd";
        LPUSH: LIST "lpush";
        RPUSH: LIST "rpush";
        LPOP: LIST "lpop";
        RPOP: LIST "rpop";
        LSET: LIST "lset";
        LINSERT: LIST "linsert";
        LREM: LIST "lrem";
        LTRIM: LIST "ltrim";
        SORTSTORE: LIST "sortstore";
        HSET: HASH "hset";
        HDEL: HASH "hdel";
        HINCRBY: HASH "hincrby";
        HINCRBYFLOAT: HASH "hincrbyfloat";
        HEXPIRE: HASH "hexpire";
        HEXPIRED: HASH "hexpired";
        HPERSIST: HASH "hpersist";
        SADD: SET "sadd";
        SREM: SET "srem";
        SPOP: SET "spop";
        SINTERSTORE: SET "sinterstore";
        SUNIONSTORE: SET "sunionstore";
        SDIFFSTORE: SET "sdiffstore";
        ZADD: SORTED "zadd";
        ZINCR: SORTED "zincr";
        ZREM: SORTED "zrem";
        ZREMRANGEBYRANK: SORTED "zremrangebyrank";
        ZREMRANGEBYSCORE: SORTED "zremrangebyscore";
        ZREMRANGEBYLEX: SORTED "zremrangebylex";
        ZPOPMIN: SORTED "zpopmin";
        ZPOPMAX: SORTED "zpopmax";
        ZUNIONSTORE: SORTED "zunionstore";
        ZINTERSTORE: SORTED "zinterstore";
        ZDIFFSTORE: SORTED "zdiffstore";
        ZRANGESTORE: SORTED "zrangestore";
        GEOSEARCHSTORE: SORTED "geosearchstore";
        GEORADIUSSTORE: SORTED "georadiusstore";
        XADD: STREAM "xadd";
        XTRIM: STREAM "xtrim";
        XDEL: STREAM "xdel";
        XSETID: STREAM "xsetid";
        XGROUP_CREATE: STREAM "xgroup-create";
        XGROUP_SETID: STREAM "xgroup-setid";
        XGROUP_DESTROY: STREAM "xgroup-destroy";
        XGROUP_CREATECONSUMER: STREAM "xgroup-createconsumer";
        XGROUP_DELCONSUMER: STREAM "xgroup-delconsumer";
    }

    /// SET with an expiry.
    pub const SET_EXPIRE: Events = &[SET[0], EXPIRE[0]];
    pub const OVERWRITTEN_AND_TYPE: Events = &[OVERWRITTEN[0], TYPE_CHANGED[0]];
    /// SPOP of a whole set, which goes at once.
    pub const SPOP_DEL: Events = &[SPOP[0], DEL[0]];
}

/// The event of an effect that no command has named.
pub(crate) fn default_events(effect: &Effect<'_>) -> Events {
    match effect {
        Effect::SetString { .. } | Effect::SetInteger { .. } => event::SET,
        Effect::Append { .. } => event::APPEND,
        Effect::SetRange { .. } => event::SETRANGE,
        Effect::Splice { .. } => event::PFADD,
        Effect::ExpireAt { .. } => event::EXPIRE,
        Effect::Persist => event::PERSIST,
        Effect::Remove { cause: Cause::Deleted } => event::DEL,
        Effect::Remove { cause: Cause::Expired } => event::EXPIRED,
        Effect::Remove { cause: Cause::Evicted } => event::EVICTED,
        Effect::SetCollection { .. } => event::NONE,
        Effect::List(change) => of_list(change),
        Effect::Hash(change) => match change {
            HashChange::Set { .. } => event::HSET,
            HashChange::Remove { cause: Cause::Expired, .. } => event::HEXPIRED,
            HashChange::Remove { .. } => event::HDEL,
            HashChange::ExpireAt { .. } => event::HEXPIRE,
            HashChange::Persist { .. } => event::HPERSIST,
        },
        Effect::Set(SetChange::Add { .. }) => event::SADD,
        Effect::Set(SetChange::Remove { .. }) => event::SREM,
        Effect::Sorted(change) => match change {
            SortedChange::Set { .. } => event::ZADD,
            SortedChange::Remove { .. } => event::ZREM,
            SortedChange::RemoveRanks { .. } => event::ZREMRANGEBYRANK,
        },
        Effect::Stream(change) => of_stream(change),
    }
}

/// Whether a key's whole value is replaced, not changed: INCR and others set a string, too.
fn is_overwrite(effect: &Effect<'_>, events: Events) -> bool {
    let changes = ["incrby", "incrbyfloat", "append", "setrange", "setbit", "pfadd"];
    let is_set = matches!(
        effect,
        Effect::SetString { .. } | Effect::SetInteger { .. } | Effect::SetCollection { .. }
    );
    is_set && events.first().is_some_and(|event| !changes.contains(&event.name))
}

fn of_list(change: &ListChange<'_>) -> Events {
    match change {
        ListChange::Push { side: Side::Front, .. } => event::LPUSH,
        ListChange::Push { side: Side::Back, .. } => event::RPUSH,
        ListChange::Pop { side: Side::Front, .. } => event::LPOP,
        ListChange::Pop { side: Side::Back, .. } => event::RPOP,
        ListChange::Set { .. } => event::LSET,
        ListChange::Insert { .. } => event::LINSERT,
        ListChange::Remove { .. } => event::LREM,
        ListChange::Keep { .. } => event::LTRIM,
    }
}

/// Redis raises nothing for deliveries and acknowledgements.
fn of_stream(change: &StreamChange<'_>) -> Events {
    match change {
        StreamChange::Add { .. } => event::XADD,
        StreamChange::Delete { .. } => event::XDEL,
        StreamChange::DropFirst { .. } => event::XTRIM,
        StreamChange::SetLastId { .. } => event::XSETID,
        StreamChange::CreateGroup { .. } => event::XGROUP_CREATE,
        StreamChange::SetGroup { .. } => event::XGROUP_SETID,
        StreamChange::DestroyGroup { .. } => event::XGROUP_DESTROY,
        StreamChange::DeleteConsumer { .. } => event::XGROUP_DELCONSUMER,
        _ => event::NONE,
    }
}

/// An event that was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaisedEvent {
    pub database: DatabaseId,
    pub key: Vec<u8>,
    pub event: Event,
}

/// What a key holds before and after a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    pub(crate) before: Option<Kind>,
    pub(crate) after: Option<Kind>,
}

/// Raised events, until they are taken.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    pub(crate) classes: EventClasses,
    pub(crate) raised: VecDeque<RaisedEvent>,
    pub(crate) dropped: u64,
}

impl EventQueue {
    pub(crate) fn is_wanted(&self) -> bool {
        self.classes != EventClasses::NONE
    }

    /// Raises the events of a change of a key.
    pub(crate) fn raise_all(
        &mut self,
        (database, key): (DatabaseId, &[u8]),
        effect: &Effect<'_>,
        events: Events,
        kinds: Kinds,
    ) {
        let mut raise = |events: Events| events.iter().for_each(|e| self.raise(database, key, *e));
        let replaced = match (kinds.before, kinds.after) {
            (None, Some(_)) => {
                raise(event::NEW);
                event::NONE
            }
            (Some(before), Some(after)) if is_overwrite(effect, events) => {
                if before == after {
                    event::OVERWRITTEN
                } else {
                    event::OVERWRITTEN_AND_TYPE
                }
            }
            _ => event::NONE,
        };
        // RENAME and COPY raise these last, all others first.
        let is_last = events == event::RENAME_TO || events == event::COPY_TO;
        if !is_last {
            raise(replaced);
        }
        raise(events);
        if is_last {
            raise(replaced);
        }
        let is_removal = matches!(effect, Effect::Remove { .. });
        if kinds.after.is_none() && kinds.before.is_some() && !is_removal {
            raise(event::DEL);
        }
    }

    fn raise(&mut self, database: DatabaseId, key: &[u8], event: Event) {
        if !self.classes.has(event.class) {
            return;
        }
        if self.raised.len() >= EVENTS_MAX {
            self.dropped += 1;
            return;
        }
        self.raised.push_back(RaisedEvent { database, key: key.to_vec(), event });
    }
}
