//! Collections: lists, sets, sorted sets and hashes in all their encodings.

use std::collections::HashSet;

use basalt_keyspace::{
    Content, Digits, FieldLife, HashChange, Kind, ListChange, SetChange, Side, SortedChange,
    StringList, score_bytes,
};

use super::blobs::{Elements, Listpack, Ziplist};
use super::{Means, Trust, Value};
use crate::error::{Error, Result};
use crate::format::{QUICKLIST_PACKED, QUICKLIST_PLAIN, kind};
use crate::input::Input;

const ODD: Error = Error::Malformed("an element without its value");

fn made(kind: Kind, is_empty: bool, changes: impl FnOnce() -> Vec<u8>) -> Result<Value> {
    if is_empty { Err(Error::Empty) } else { Ok(Value::Collection { kind, changes: changes() }) }
}

/// Refuses what comes twice, unless the bytes are trusted.
struct Different {
    seen: Option<HashSet<Box<[u8]>>>,
}

impl Different {
    fn new(means: Means) -> Self {
        Self { seen: (means.trust == Trust::None).then(HashSet::new) }
    }

    fn check(&mut self, text: &[u8]) -> Result<()> {
        let is_new = self.seen.as_mut().is_none_or(|seen| seen.insert(text.into()));
        if is_new { Ok(()) } else { Err(Error::Malformed("an element comes twice")) }
    }
}

// Lists.

fn made_list(elements: &StringList) -> Result<Value> {
    let push = ListChange::Push { side: Side::Back, elements: elements.as_strings() };
    made(Kind::List, elements.is_empty(), || push.to_changes())
}

fn push_all<'a>(list: &mut StringList, elements: impl Elements<'a>) -> Result<()> {
    let mut digits = Digits::default();
    for element in elements {
        list.push(element?.as_text(&mut digits));
    }
    Ok(())
}

pub(super) fn list(input: &mut Input<'_>) -> Result<Value> {
    let mut list = StringList::default();
    for _ in 0..input.count(1)? {
        list.push(&input.text()?);
    }
    made_list(&list)
}

/// So many ziplists, one behind the other.
pub(super) fn list_ziplists(input: &mut Input<'_>, count: usize) -> Result<Value> {
    let mut list = StringList::default();
    for _ in 0..count {
        push_all(&mut list, Ziplist::new(&input.bytes()?)?)?;
    }
    made_list(&list)
}

pub(super) fn quicklist(input: &mut Input<'_>) -> Result<Value> {
    let mut list = StringList::default();
    for _ in 0..input.count(2)? {
        match input.number()? {
            QUICKLIST_PLAIN => list.push(&input.text()?),
            QUICKLIST_PACKED => push_all(&mut list, Listpack::new(&input.bytes()?)?)?,
            _ => return Err(Error::Malformed("a node of a list of an unknown form")),
        }
    }
    made_list(&list)
}

// Sets.

fn made_set(members: &StringList) -> Result<Value> {
    let add = SetChange::Add { members: members.as_strings() };
    made(Kind::Set, members.is_empty(), || add.to_changes())
}

pub(super) fn set(input: &mut Input<'_>, means: Means) -> Result<Value> {
    let (mut members, mut different) = (StringList::default(), Different::new(means));
    for _ in 0..input.count(1)? {
        let member = input.text()?;
        different.check(&member)?;
        members.push(&member);
    }
    made_set(&members)
}

pub(super) fn set_of<'a>(elements: impl Elements<'a>, means: Means) -> Result<Value> {
    let (mut members, mut different) = (StringList::default(), Different::new(means));
    let mut digits = Digits::default();
    for element in elements {
        let element = element?;
        let member = element.as_text(&mut digits);
        different.check(member)?;
        members.push(member);
    }
    made_set(&members)
}

// Sorted sets.

struct Pairs {
    list: StringList,
    different: Different,
}

impl Pairs {
    fn new(means: Means) -> Self {
        Self { list: StringList::default(), different: Different::new(means) }
    }

    fn push(&mut self, member: &[u8], score: f64) -> Result<()> {
        if score.is_nan() {
            return Err(Error::Malformed("a score is not a number"));
        }
        self.different.check(member)?;
        self.list.push(&score_bytes(score));
        self.list.push(member);
        Ok(())
    }

    fn into_value(self) -> Result<Value> {
        let set = SortedChange::Set { pairs: self.list.as_strings() };
        made(Kind::Sorted, self.list.is_empty(), || set.to_changes())
    }
}

pub(super) fn sorted(number: u8, input: &mut Input<'_>, means: Means) -> Result<Value> {
    let mut pairs = Pairs::new(means);
    for _ in 0..input.count(2)? {
        let member = input.text()?;
        let score = if number == kind::ZSET_2 { input.double()? } else { text_score(input)? };
        pairs.push(&member, score)?;
    }
    pairs.into_value()
}

/// A score as text behind one byte for its length, of which some mean a score of their own.
fn text_score(input: &mut Input<'_>) -> Result<f64> {
    match input.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => Ok(f64::NAN),
        len => parse_score(input.take(usize::from(len))?),
    }
}

fn parse_score(text: &[u8]) -> Result<f64> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).ok_or(Error::Malformed("a score is not a number"))
}

pub(super) fn sorted_of<'a>(mut elements: impl Elements<'a>, means: Means) -> Result<Value> {
    let mut pairs = Pairs::new(means);
    let mut digits = Digits::default();
    while let Some(member) = elements.next() {
        let member = member?;
        let score = match elements.next().ok_or(ODD)?? {
            Content::Integer(score) => score as f64,
            Content::Bytes(text) => parse_score(text)?,
        };
        pairs.push(member.as_text(&mut digits), score)?;
    }
    pairs.into_value()
}

// Hashes.

/// The fields of a hash: those without an expiry together, the others one by one.
struct Fields {
    means: Means,
    plain: StringList,
    expiring: Vec<u8>,
    different: Different,
    has_expired: bool,
}

impl Fields {
    fn new(means: Means) -> Self {
        let different = Different::new(means);
        let (plain, expiring) = (StringList::default(), Vec::new());
        Self { means, plain, expiring, different, has_expired: false }
    }

    fn push(&mut self, field: &[u8], value: &[u8], expire_at_ms: Option<u64>) -> Result<()> {
        self.different.check(field)?;
        match expire_at_ms {
            None => {
                self.plain.push(field);
                self.plain.push(value);
            }
            Some(at_ms) if at_ms <= self.means.now_ms => self.has_expired = true,
            Some(at_ms) => {
                let pair = [field, value];
                let set = HashChange::Set { pairs: (&pair).into(), life: FieldLife::Until(at_ms) };
                self.expiring.extend_from_slice(&set.to_changes());
            }
        }
        Ok(())
    }

    fn into_value(self) -> Result<Value> {
        let Self { plain, expiring, has_expired, .. } = self;
        if has_expired && plain.is_empty() && expiring.is_empty() {
            return Err(Error::Expired);
        }
        let set = HashChange::Set { pairs: plain.as_strings(), life: FieldLife::Forever };
        made(Kind::Hash, plain.is_empty() && expiring.is_empty(), || {
            let mut changes = if plain.is_empty() { Vec::new() } else { set.to_changes() };
            changes.extend_from_slice(&expiring);
            changes
        })
    }
}

pub(super) fn hash(input: &mut Input<'_>, means: Means) -> Result<Value> {
    let mut fields = Fields::new(means);
    for _ in 0..input.count(2)? {
        let field = input.text()?;
        fields.push(&field, &input.text()?, None)?;
    }
    fields.into_value()
}

pub(super) fn hash_of<'a>(mut elements: impl Elements<'a>, means: Means) -> Result<Value> {
    let mut fields = Fields::new(means);
    let (mut of_field, mut of_value) = (Digits::default(), Digits::default());
    while let Some(field) = elements.next() {
        let (field, value) = (field?, elements.next().ok_or(ODD)??);
        fields.push(field.as_text(&mut of_field), value.as_text(&mut of_value), None)?;
    }
    fields.into_value()
}

/// A field, its value and its expiry, -1 for none, each.
pub(super) fn expiring_hash_of_valkey(input: &mut Input<'_>, means: Means) -> Result<Value> {
    let mut fields = Fields::new(means);
    for _ in 0..input.count(10)? {
        let (field, value) = (input.text()?, input.text()?);
        let at_ms = i64::from_le_bytes(input.array()?);
        let expire_at_ms = match at_ms {
            -1 => None,
            _ => Some(u64::try_from(at_ms).map_err(|_| Error::Malformed("an invalid expiry"))?),
        };
        fields.push(&field, &value, expire_at_ms)?;
    }
    fields.into_value()
}

/// The smallest expiry (but in release candidates); then for each field its expiry, 0 for none,
/// relative to the smallest plus 1, its name and its value.
pub(super) fn expiring_hash_of_redis(
    number: u8,
    input: &mut Input<'_>,
    means: Means,
) -> Result<Value> {
    const WRONG: Error = Error::Malformed("an invalid expiry");
    let least_ms = if number == kind::HASH_METADATA { Some(input.u64_le()?) } else { None };
    let mut fields = Fields::new(means);
    for _ in 0..input.count(3)? {
        let expire_at_ms = match (input.number()?, least_ms) {
            (0, _) => None,
            (at_ms, None) => Some(at_ms),
            (offset, Some(least_ms)) => Some(least_ms.checked_add(offset - 1).ok_or(WRONG)?),
        };
        if expire_at_ms.is_some_and(|at_ms| i64::try_from(at_ms).is_err()) {
            return Err(WRONG);
        }
        let field = input.text()?;
        fields.push(&field, &input.text()?, expire_at_ms)?;
    }
    fields.into_value()
}

/// The smallest expiry (but in release candidates); then a listpack of fields, values and
/// expiries, 0 for none.
pub(super) fn expiring_listpack(number: u8, input: &mut Input<'_>, means: Means) -> Result<Value> {
    if number == kind::HASH_LISTPACK_EX {
        input.u64_le()?;
    }
    let blob = input.bytes()?;
    let mut elements = Listpack::new(&blob)?;
    let mut fields = Fields::new(means);
    let (mut of_field, mut of_value) = (Digits::default(), Digits::default());
    while let Some(field) = elements.next() {
        let (field, value) = (field?, elements.next().ok_or(ODD)??);
        let expire_at_ms = match elements.next().ok_or(ODD)?? {
            Content::Integer(0) => None,
            Content::Integer(at_ms) if at_ms > 0 => Some(at_ms.unsigned_abs()),
            _ => return Err(Error::Malformed("an invalid expiry")),
        };
        let (field, value) = (field.as_text(&mut of_field), value.as_text(&mut of_value));
        fields.push(field, value, expire_at_ms)?;
    }
    fields.into_value()
}
