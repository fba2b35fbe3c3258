//! Events: the keyspace events that changes raise, under Redis' names and classes.
//!
//! A kind of effect has a default event (`sadd` for members that are added); a command whose event has
//! another name says so (`Edit::as_event`). `new`, `overwritten`, `type_changed` and the `del` of an emptied key
//! follow from what the key held before and holds afterwards. Names and classes are those of Redis' sources
//! (`notify.c` and the callers of `notifyKeyspaceEvent`).
//!
//! Not here: who is notified, and how (Pub/Sub).

use basalt_structures::{Kind, Side};

use crate::DatabaseId;
use crate::codec::Cause;
use crate::collections::{HashChange, ListChange, SetChange, SortedChange, StreamChange};
use crate::effect::Effect;
use crate::limits::EVENTS_MAX;

/// Classes of events, as `notify-keyspace-events` selects them: a bit for each character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u32);

/// The characters, each at the place of its bit.
const CHARACTERS: &[u8] = b"g$lshzxetdnmoc";

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
    pub const KEY_MISS: Self = Self(1 << 11);
    pub const OVERWRITTEN: Self = Self(1 << 12);
    pub const TYPE_CHANGED: Self = Self(1 << 13);
    /// What the character `A` stands for: all but `m`, `n`, `o` and `c`.
    pub const ALL: Self = Self((1 << 10) - 1);

    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The classes that characters select, `A` included; `None` where one is not known. `K` and `E` are not
    /// classes.
    pub fn parse(characters: &[u8]) -> Option<Self> {
        characters.iter().try_fold(Self::NONE, |classes, character| {
            let more = match CHARACTERS.iter().position(|known| known == character) {
                Some(bit) => Self(1 << bit),
                None if *character == b'A' => Self::ALL,
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
        KEY_MISS: KEY_MISS "keymiss";
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
    /// HSETEX with an expiry.
    pub const HSET_HEXPIRE: Events = &[HSET[0], HEXPIRE[0]];
    /// HSETEX with an expiry that is past.
    pub const HSET_HDEL: Events = &[HSET[0], HDEL[0]];
    /// A list whose elements move within it.
    pub const LPUSH_LPOP: Events = &[LPUSH[0], LPOP[0]];
    pub const LPUSH_RPOP: Events = &[LPUSH[0], RPOP[0]];
    pub const RPUSH_LPOP: Events = &[RPUSH[0], LPOP[0]];
    pub const RPUSH_RPOP: Events = &[RPUSH[0], RPOP[0]];
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

/// What a change raises.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// The default of its effect.
    Default,
    Events(Events),
    /// No events, and no watch or blocked client notices it either.
    Nothing,
}

/// What a key holds before and after a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    pub(crate) before: Option<Kind>,
    pub(crate) after: Option<Kind>,
    /// A stream's group gets a consumer that it did not have.
    pub(crate) makes_consumer: bool,
}

/// Events in the order in which they were raised. LIMIT: [`EVENTS_MAX`].
#[derive(Debug, Default)]
pub struct RaisedEvents {
    /// With the end of the key in `keys`.
    list: Vec<(DatabaseId, usize, Event)>,
    keys: Vec<u8>,
}

impl RaisedEvents {
    pub fn iter(&self) -> impl Iterator<Item = (DatabaseId, &[u8], Event)> {
        let mut start = 0;
        self.list.iter().map(move |&(database, end, event)| {
            (database, &self.keys[std::mem::replace(&mut start, end)..end], event)
        })
    }

    fn push(&mut self, database: DatabaseId, key: &[u8], event: Event) {
        self.keys.extend_from_slice(key);
        self.list.push((database, self.keys.len(), event));
    }

    /// Forgets all, and keeps the memory for the next ones.
    fn clear(&mut self) {
        const KEPT: usize = 1 << 12;
        self.list.clear();
        self.list.shrink_to(KEPT);
        self.keys.clear();
        self.keys.shrink_to(KEPT * 16);
    }
}

/// Raised events, until they are taken.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    pub(crate) classes: EventClasses,
    raised: RaisedEvents,
    spare: RaisedEvents,
    pub(crate) dropped: u64,
}

impl EventQueue {
    pub(crate) fn is_wanted(&self) -> bool {
        self.classes != EventClasses::NONE
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.raised.list.is_empty()
    }

    /// Takes the events that were raised.
    pub(crate) fn take(&mut self) -> RaisedEvents {
        std::mem::replace(&mut self.raised, std::mem::take(&mut self.spare))
    }

    /// Takes the memory of events back.
    pub(crate) fn reuse(&mut self, mut taken: RaisedEvents) {
        taken.clear();
        self.spare = taken;
    }

    /// A key was looked for, and is not there.
    pub(crate) fn raise_miss(&mut self, database: DatabaseId, key: &[u8]) {
        self.raise(database, key, event::KEY_MISS[0]);
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
        // Redis removes what RENAME, COPY and RESTORE overwrite, and says so last; all others first.
        let is_removed_before =
            [event::RENAME_TO, event::COPY_TO, event::RESTORE].contains(&events);
        let overwritten = match (kinds.before, kinds.after) {
            (Some(before), Some(after)) if is_overwrite(effect, events) => {
                if before == after {
                    event::OVERWRITTEN
                } else {
                    event::OVERWRITTEN_AND_TYPE
                }
            }
            _ => event::NONE,
        };
        if kinds.after.is_some() && (kinds.before.is_none() || is_removed_before) {
            raise(event::NEW);
        }
        if !is_removed_before {
            raise(overwritten);
        }
        if kinds.makes_consumer {
            raise(event::XGROUP_CREATECONSUMER);
        }
        raise(events);
        if is_removed_before {
            raise(overwritten);
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
        if self.raised.list.len() >= EVENTS_MAX {
            self.dropped += 1;
            return;
        }
        self.raised.push(database, key, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Edit, KeyHasher, Keyspace};

    const DB: DatabaseId = DatabaseId(0);
    const TEXT: Effect<'static> =
        Effect::SetString { value: b"v", expire_at_ms: None, changed: false };

    fn keyspace(classes: &[u8]) -> Keyspace {
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), 1000);
        keyspace.set_event_classes(EventClasses::parse(classes).expect("they are classes"));
        keyspace
    }

    fn names(keyspace: &mut Keyspace, change: impl FnOnce(Edit<'_>)) -> Vec<&'static str> {
        let key = keyspace.key(b"k");
        change(keyspace.edit(DB, &key));
        keyspace.take_events().iter().map(|(_, _, event)| event.name).collect()
    }

    #[test]
    fn characters_select_classes() {
        assert_eq!(EventClasses::parse(b""), Some(EventClasses::NONE));
        assert_eq!(EventClasses::parse(b"g$lshzxetd"), Some(EventClasses::ALL));
        assert_eq!(EventClasses::parse(b"A"), Some(EventClasses::ALL));
        assert_eq!(EventClasses::parse(b"$n"), Some(EventClasses::STRING.or(EventClasses::NEW)));
        assert_eq!(EventClasses::parse(b"g?"), None);
        let mut keyspace = keyspace(b"x");
        assert!(names(&mut keyspace, |edit| edit.commit(TEXT)).is_empty());
        keyspace.set_event_classes(EventClasses::NONE);
        assert!(names(&mut keyspace, |edit| edit.commit(TEXT)).is_empty());
    }

    /// As Redis 8.2 and later: SET and stores say that they overwrite before their own event, RENAME and COPY after
    /// it, and what changes a value says nothing.
    #[test]
    fn overwritten_values_and_types_are_told() {
        let mut keyspace = keyspace(b"Anoc");
        let members = [&b"m"[..]];
        let add = Effect::Set(SetChange::Add { members: crate::Strings::from(&members) });
        let number = Effect::SetInteger { value: 1, expire_at_ms: None };
        assert_eq!(names(&mut keyspace, |edit| edit.commit(add)), ["new", "sadd"]);
        let expected = ["overwritten", "type_changed", "set"];
        assert_eq!(names(&mut keyspace, |edit| edit.commit(TEXT)), expected);
        assert_eq!(names(&mut keyspace, |edit| edit.commit(TEXT)), ["overwritten", "set"]);
        let incr = |edit: Edit<'_>| edit.as_event(event::INCRBY).commit(number);
        assert_eq!(names(&mut keyspace, incr), ["incrby"]);
        let rename = |edit: Edit<'_>| edit.as_event(event::RENAME_TO).commit(TEXT);
        assert_eq!(names(&mut keyspace, rename), ["new", "rename_to", "overwritten"]);
        let quiet = |edit: Edit<'_>| edit.unsignalled().commit(TEXT);
        assert!(names(&mut keyspace, quiet).is_empty());
        let remove = Effect::Remove { cause: Cause::Evicted };
        assert_eq!(names(&mut keyspace, |edit| edit.commit(remove)), ["evicted"]);
        assert!(names(&mut keyspace, |edit| edit.commit(remove)).is_empty());
    }

    #[test]
    fn expired_keys_and_fields_raise_events() {
        let mut keyspace = keyspace(b"A");
        for (name, at_ms) in [(&b"lazily"[..], 2000), (&b"by the wheel"[..], 2000)] {
            let key = keyspace.key(name);
            let effect =
                Effect::SetString { value: b"v", expire_at_ms: Some(at_ms), changed: false };
            keyspace.edit(DB, &key).as_event(event::NONE).commit(effect);
        }
        let key = keyspace.key(b"hash");
        let pair: [&[u8]; 2] = [b"f", b"v"];
        let life = crate::FieldLife::Until(2000);
        let change = HashChange::Set { pairs: crate::Strings::from(&pair), life };
        keyspace.edit(DB, &key).as_event(event::HSET_HEXPIRE).commit(Effect::Hash(change));
        keyspace.set_now(3000);
        let key = keyspace.key(b"lazily");
        assert!(keyspace.read(DB, &key).is_none());
        keyspace.expire_due(&mut || true);
        let events = keyspace.take_events();
        let mut raised: Vec<(&str, &str)> = events
            .iter()
            .map(|(_, key, event)| (str::from_utf8(key).expect("our keys are text"), event.name))
            .collect();
        raised.sort_unstable();
        let expected = [
            ("by the wheel", "expired"),
            ("hash", "del"),
            ("hash", "hexpire"),
            ("hash", "hexpired"),
            ("hash", "hset"),
            ("lazily", "expired"),
        ];
        assert_eq!(raised, expected);
    }

    #[test]
    fn events_that_are_not_taken_are_bounded() {
        let mut keyspace = keyspace(b"$");
        let key = keyspace.key(b"k");
        (0..EVENTS_MAX + 3).for_each(|_| keyspace.edit(DB, &key).commit(TEXT));
        assert_eq!(keyspace.dropped_events(), 3);
        assert_eq!(keyspace.take_events().iter().count(), EVENTS_MAX);
    }
}
