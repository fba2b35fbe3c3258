//! The bounds of everything in this crate that can grow, with what happens there.

/// LIMIT: room to spare beyond a grown string: as much again, but no more than this.
pub const SPARE_BYTES_MAX: usize = 1 << 20;

/// LIMIT: entries or elements freed in one step, before the budget is asked again.
pub(crate) const FREE_STEP_ELEMENTS_MAX: usize = 256;

/// LIMIT: flushed databases that wait to be freed. With more, FLUSHALL frees the last of them first.
pub(crate) const FLUSHED_DATABASES_MAX: usize = 32;

/// LIMIT: collections of up to so many elements are freed at once.
pub(crate) const FREED_AT_ONCE_ELEMENTS_MAX: usize = 64;

/// LIMIT: fields of a hash that are removed at a time, before the budget is asked again.
pub(crate) const FIELDS_DUE_MAX: usize = 64;

/// LIMIT: how often a random pick is repeated because it met an expired entry.
pub(crate) const PICK_TRIES_MAX: usize = 100;

/// LIMIT: bytes of records that a reader may leave unread. A reader with more loses its place
/// ([`Lagged`](crate::Lagged)) and must begin anew; the others are not affected.
pub const RECORDS_UNREAD_BYTES_MAX: usize = 64 << 20;

/// LIMIT: raised events that nobody has taken. Further ones are dropped and counted.
pub const EVENTS_MAX: usize = 1 << 20;

/// LIMIT: candidates for eviction that are kept; worse ones are dropped.
pub(crate) const EVICTION_POOL_MAX: usize = 16;

/// LIMIT: draws of candidates for one eviction, where those that were drawn may not go.
pub(crate) const EVICTION_TRIES_MAX: usize = 16;

/// LIMIT: keys looked at in one draw to find some that expire.
pub(crate) const VOLATILE_VISITS_MAX: usize = 256;

/// LIMIT: the keys that expire next that are kept for eviction; further ones are looked up when these are gone.
pub(crate) const NEAREST_MAX: usize = 256;

/// LIMIT: keys compared to find those that expire next. If more are due within one cell of the expiry wheel, it is
/// the nearest of so many.
pub(crate) const NEAREST_ASKED_MAX: usize = 4096;
