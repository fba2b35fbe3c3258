//! SORT: sorts the elements of a list, set or sorted set, by value or by the values of keys named
//! after them.
//!
//! ```text
//! elements ──BY──► weights ──► order ──LIMIT──► some of them ──GET──► results, in the reply or
//! stored
//! ```
//!
//! Three rounds: the elements, their weights, and the values that are returned, each wherever its keys are. Keys that
//! are named after elements are known only then, so a SORT that reads any holds everything.

use std::cmp::Ordering;

use basalt_keyspace::{
    Content, Digits, Entry, HashRef, Kind, ListRef, SetRef, SortedRef, StringList, Value, event,
};
use basalt_resp::parse_f64;

use super::ROW;
use crate::args::{Grammar, flag, integer, two_values, value};
use crate::argument::Argument;
use crate::call::Outcome;
use crate::command::{Categories, Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{
    Decision, InRounds, KeyRead, KeysHere, ManyKeys, Request, Round, RoundKey, Settings,
};
use crate::memory::check_memory;

const BY: Argument = Argument::pattern("by-pattern").shown_as("pattern").after("BY").optional();
const LIMIT: Argument =
    Argument::block("limit", &[Argument::integer("offset"), Argument::integer("count")])
        .after("LIMIT")
        .optional();
const GET: Argument =
    Argument::pattern("get-pattern").shown_as("pattern").after("GET").repeating_token().optional();
const ORDER: Argument =
    Argument::one_of("order", &[Argument::word("asc", "ASC"), Argument::word("desc", "DESC")])
        .optional();
const SORTING: Argument = Argument::word("sorting", "ALPHA").optional();
const STORE: Argument = Argument::key("destination", 2).after("STORE").optional();

const SOURCE: KeySpec = KeySpec::at(1, &["RO", "access"]);
const NAMED_BY_ELEMENTS: KeySpec = KeySpec::unknown(&["RO", "access"], |_| None).because(
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the \
     content of the key we sort",
);
const TARGET: KeySpec = KeySpec::unknown(&["OW", "update"], store_at).because(
    "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere \
     in the argument array",
);

const SORT_ROW: Command = Command {
    complexity: "O(N+M*log(M)) for N elements of which M are told",
    arity: -2,
    also: Categories::SET.or(Categories::SORTED_SET).or(Categories::LIST).or(Categories::DANGEROUS),
    ..ROW
};

pub(super) const SORT: Command = Command {
    name: "sort",
    since: "1.0.0",
    summary: "Returns or stores elements sorted by value, or by the values of other keys.",
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
    keys: &[SOURCE, NAMED_BY_ELEMENTS, TARGET],
    arguments: &[Argument::KEY, BY, LIMIT, GET, ORDER, SORTING, STORE],
    run: Run::Many(&const { ManyKeys::in_rounds::<Sort<true>>() }),
    shows: r#"> RPUSH ids 3 20 1
(integer) 3
> SORT ids
1) "1"
2) "3"
3) "20"
> SORT ids ALPHA DESC LIMIT 0 2
1) "3"
2) "20"
> MSET age:1 40 age:3 20 age:20 30
OK
> HSET user:3 name ann
(integer) 1
> SORT ids BY age:* GET # GET user:*->name GET age:*
1) "3"
2) "ann"
3) "20"
4) "20"
5) (nil)
6) "30"
7) "1"
8) (nil)
9) "40"
> SORT ids BY nosort DESC
1) "1"
2) "20"
3) "3"
> SORT ids BY age:* STORE by-age
(integer) 3
> LRANGE by-age 0 -1
1) "3"
2) "20"
3) "1"
> RPUSH ids four
(integer) 4
> SORT ids
(error) ERR One or more scores can't be converted into double
> SORT ids LIMIT 0
(error) ERR syntax error
> SORT age:1
(error) WRONGTYPE Operation against a key holding the wrong kind of value
> SORT absent STORE by-age
(integer) 0
> EXISTS by-age
(integer) 0
"#,
    ..SORT_ROW
};

pub(super) const SORT_RO: Command = Command {
    name: "sort_ro",
    since: "7.0.0",
    summary: "Returns elements sorted by value, or by the values of other keys.",
    flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
    keys: &[SOURCE, NAMED_BY_ELEMENTS],
    arguments: &[Argument::KEY, BY, LIMIT, GET, ORDER, SORTING],
    run: Run::Many(&const { ManyKeys::in_rounds::<Sort<false>>() }),
    shows: r#"> SADD letters b c a
(integer) 3
> SORT_RO letters ALPHA LIMIT 1 5
1) "b"
2) "c"
> SORT_RO letters ALPHA STORE sorted
(error) ERR syntax error
> SORT_RO absent
(empty array)
"#,
    ..SORT_ROW
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Asc,
    Desc,
    Alpha,
    Limit,
    By,
    Get,
    Store,
}

const SORT_OPTIONS: Grammar<Word> = Grammar(&[
    flag("asc", Word::Asc),
    flag("desc", Word::Desc),
    flag("alpha", Word::Alpha),
    two_values("limit", Word::Limit),
    value("by", Word::By),
    value("get", Word::Get),
    value("store", Word::Store),
]);

/// The index of the destination key: the last one given.
fn store_at(args: &[&[u8]]) -> Option<usize> {
    let (mut found, mut at) = (None, 2);
    while at < args.len() {
        let value_count = match args[at].to_ascii_lowercase().as_slice() {
            b"limit" => 2,
            b"by" | b"get" => 1,
            b"store" if at + 1 < args.len() => {
                found = Some(at + 1);
                1
            }
            _ => 0,
        };
        at += 1 + value_count;
    }
    found
}

/// What BY or GET gives for an element: itself, nothing, or the value of a key named after it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Element,
    Nothing,
    Key(Pattern),
}

/// The pattern of a key named after an element, and the field of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    before: Vec<u8>,
    behind: Vec<u8>,
    field: Option<Vec<u8>>,
}

/// The first position of `wanted` in a text, up to its first NUL, as in C.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text[..end].windows(wanted.len()).position(|part| part == wanted)
}

impl Source {
    fn parse(pattern: &[u8]) -> Self {
        if matches!(pattern, [b'#'] | [b'#', 0, ..]) {
            return Self::Element;
        }
        let Some(star) = find(pattern, b"*") else { return Self::Nothing };
        let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
        let arrow = find(behind, b"->").filter(|at| !matches!(behind[at + 2..], [] | [0, ..]));
        let (behind, field) = match arrow {
            Some(at) => (&behind[..at], Some(behind[at + 2..].to_vec())),
            None => (behind, None),
        };
        Self::Key(Pattern { before: before.to_vec(), behind: behind.to_vec(), field })
    }

    /// The key to read for an element.
    fn key_for(&self, element: &[u8]) -> Option<Vec<u8>> {
        let Self::Key(Pattern { before, behind, .. }) = self else { return None };
        Some([before, element, behind].concat())
    }

    /// The field of a hash that is read.
    fn field(&self) -> Option<&[u8]> {
        let Self::Key(Pattern { field, .. }) = self else { return None };
        field.as_deref()
    }
}

/// The remaining memory for keys and values that one SORT looks up. LIMIT: all of them are in
/// memory at once, and a short request can name the same large value for each of a million
/// elements.
#[derive(Debug)]
struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Self {
        Self(1 << 30)
    }
}

impl Allowance {
    /// Takes a number of bytes from it; an error if too few are left.
    fn take(&mut self, bytes: usize) -> Result<(), CommandError> {
        let refusal = "ERR SORT would look up more than 1 GB; sort fewer elements at a time, or use BY and GET \
                       with smaller values";
        self.0 = self.0.checked_sub(bytes).ok_or(CommandError::text(refusal))?;
        Ok(())
    }

    /// The keys of a round that must not need more than is left.
    fn round(&mut self, names: impl Iterator<Item = Vec<u8>>) -> Result<Round, CommandError> {
        let take = |name: Vec<u8>| {
            self.take(name.len())?;
            Ok(RoundKey::Named(name))
        };
        let keys = names.map(take).collect::<Result<_, CommandError>>()?;
        Ok(Round { keys, is_ordered: false })
    }
}

/// A parsed SORT.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SortRequest {
    /// `Nothing`: not sorted at all.
    by: Source,
    /// The results for each element.
    gets: Vec<Source>,
    offset: i64,
    /// Negative: all.
    count: i64,
    is_descending: bool,
    is_alpha: bool,
    /// The index of the destination key.
    target: Option<usize>,
}

/// Parses the arguments of SORT, or of SORT_RO, which has no STORE.
fn parse_sort(args: &[&[u8]], may_store: bool) -> Result<SortRequest, CommandError> {
    let mut request = SortRequest {
        by: Source::Element,
        gets: Vec::new(),
        offset: 0,
        count: -1,
        is_descending: false,
        is_alpha: false,
        target: None,
    };
    for option in SORT_OPTIONS.parse(&args[2..]) {
        let (word, values) = option?;
        match word {
            Word::Asc => request.is_descending = false,
            Word::Desc => request.is_descending = true,
            Word::Alpha => request.is_alpha = true,
            Word::Limit => {
                (request.offset, request.count) = (integer(values[0])?, integer(values[1])?);
            }
            Word::By => {
                // A pattern without `*` gives the same key for all, which orders nothing.
                let is_pattern = find(values[0], b"*").is_some();
                request.by = if is_pattern { Source::parse(values[0]) } else { Source::Nothing };
            }
            Word::Get => request.gets.push(Source::parse(values[0])),
            Word::Store if may_store => {}
            Word::Store => return Err(CommandError::SYNTAX),
        }
    }
    if may_store {
        request.target = store_at(args);
    }
    if request.gets.is_empty() {
        request.gets.push(Source::Element);
    }
    Ok(request)
}

/// The value of a key that was named after an element.
fn value_behind<'a>(
    entry: Option<&'a Entry>,
    field: Option<&[u8]>,
    now_ms: u64,
) -> Option<Content<'a>> {
    match (field, entry?.value()) {
        (None, Value::String(content)) => Some(content),
        (None, _) => None,
        (Some(field), _) => Some(HashRef::of(entry?, now_ms)?.get(field)?.value),
    }
}

/// The sort key of an element.
#[derive(Clone, Debug)]
enum Weight {
    Number(f64),
    /// Of a key that is missing: none.
    Text(Option<Box<[u8]>>),
}

/// A number as SORT parses it: the text ends at the first NUL, as in C.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let refusal = "ERR One or more scores can't be converted into double";
    parse_f64(&text[..end]).ok_or(CommandError::text(refusal))
}

impl SortRequest {
    /// Whether keys are read that are not among the arguments.
    fn reads_other_keys(&self) -> bool {
        let is_key = |source: &Source| matches!(source, Source::Key(_));
        is_key(&self.by) || self.gets.iter().any(is_key)
    }

    /// The elements of a key; if they are not sorted, only the requested ones.
    fn elements(&self, entry: Option<&Entry>) -> Result<StringList, CommandError> {
        let mut elements = StringList::default();
        let Some(entry) = entry else { return Ok(elements) };
        let mut digits = Digits::default();
        let mut push = |content: Content<'_>| elements.push(content.as_text(&mut digits));
        let is_unsorted = self.by == Source::Nothing;
        let range = |len: usize| if is_unsorted { self.window(len) } else { 0..len };
        if let Some(list) = ListRef::of(entry) {
            let range = range(list.len());
            if range.is_empty() {
            } else if is_unsorted && self.is_descending {
                let last = list.len() - 1 - range.start;
                list.iter_back_from(last).take(range.len()).for_each(push);
            } else {
                list.iter_from(range.start).take(range.len()).for_each(push);
            }
        } else if let Some(sorted) = SortedRef::of(entry) {
            let (len, range) = (sorted.len(), range(sorted.len()));
            if is_unsorted && self.is_descending {
                let range = len - range.end..len - range.start;
                sorted.walk_back(range).for_each(|one| push(Content::Bytes(one.member)));
            } else {
                sorted.walk(range).for_each(|one| push(Content::Bytes(one.member)));
            }
        } else if let Some(set) = SetRef::of(entry) {
            // The order of a set is random, but the stored result must not be.
            let is_told = self.target.is_none();
            let range = if is_told { range(set.len()) } else { 0..set.len() };
            set.iter().skip(range.start).take(range.len()).for_each(push);
            if is_unsorted && !is_told {
                let mut names: Vec<&[u8]> = elements.as_strings().iter().collect();
                names.sort_unstable_by(|one, other| self.directed(one.cmp(other)));
                let mut ordered = StringList::default();
                names[self.window(names.len())].iter().for_each(|name| ordered.push(name));
                return Ok(ordered);
            }
        } else {
            return Err(CommandError::WRONG_TYPE);
        }
        Ok(elements)
    }

    /// The range of requested elements among `len`.
    fn window(&self, len: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len).min(len - start);
        start..start + count
    }

    fn directed(&self, ordering: Ordering) -> Ordering {
        if self.is_descending { ordering.reverse() } else { ordering }
    }

    /// The weight that a text gives. Elements without one have weight 0.
    fn weight(&self, text: Option<&[u8]>) -> Result<Weight, CommandError> {
        Ok(match (self.is_alpha, text) {
            (true, text) => Weight::Text(text.map(|text| self.compared(text).into())),
            (false, None) => Weight::Number(0.0),
            (false, Some(text)) => Weight::Number(number(text)?),
        })
    }

    /// The offsets of the requested elements, in order. `weights` has those that keys gave, one per element.
    fn ordered(
        &self,
        elements: &StringList,
        weights: &[Weight],
    ) -> Result<Vec<usize>, CommandError> {
        let all = elements.with_offsets();
        let is_by_key = matches!(self.by, Source::Key(_));
        let mut weighed: Vec<(f64, usize, &[u8], usize)> = Vec::with_capacity(elements.len());
        if self.by == Source::Nothing {
            return Ok(all.map(|(offset, _)| offset).collect());
        }
        for (at, (offset, element)) in all.enumerate() {
            let weight = match (is_by_key, self.is_alpha) {
                (false, false) => number(element)?,
                (true, false) => match weights[at] {
                    Weight::Number(number) => number,
                    Weight::Text(_) => 0.0,
                },
                (_, true) => 0.0,
            };
            weighed.push((weight, at, element, offset));
        }
        if self.is_alpha {
            let text = |at: usize, element| match weights.get(at) {
                Some(Weight::Text(text)) if is_by_key => text.as_deref(),
                _ => Some(self.compared(element)),
            };
            weighed.sort_by(|one, other| {
                self.directed(text(one.1, one.2).cmp(&text(other.1, other.2)))
            });
        } else {
            weighed.sort_by(|one, other| {
                let by_number = one.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal);
                self.directed(by_number.then_with(|| one.2.cmp(other.2)))
            });
        }
        let window = self.window(weighed.len());
        Ok(weighed[window].iter().map(|(.., offset)| *offset).collect())
    }

    /// The part of a text that is compared, up to the first NUL: replies are compared as texts in
    /// C.
    fn compared<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let end = text.iter().position(|byte| *byte == 0 && self.target.is_none());
        &text[..end.unwrap_or(text.len())]
    }

    /// The sources of results that are keys.
    fn got_keys(&self) -> impl Iterator<Item = &Source> {
        self.gets.iter().filter(|get| matches!(get, Source::Key(_)))
    }
}

/// SORT, and SORT_RO without `STORES`.
struct Sort<const STORES: bool>;

const SOURCE_KEY: usize = 0;
const TARGET_KEY: usize = 1;

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Elements,
    Weights,
    Values,
    Nothing,
}

/// A SORT under way.
struct Sorting {
    request: SortRequest,
    stage: Stage,
    elements: StringList,
    /// One per element, if they are sorted by keys.
    weights: Vec<Weight>,
    /// The offsets of the requested elements.
    ordered: Vec<usize>,
    texts: StringList,
    /// The offset in `texts` of what each key gave that was read for a result.
    values: Vec<Option<usize>>,
    allowance: Allowance,
}

impl<const STORES: bool> InRounds for Sort<STORES> {
    type Found = ();
    type State = Box<Sorting>;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        parse_sort(args, STORES).map(drop)
    }

    fn reads_all(args: &[&[u8]]) -> bool {
        parse_sort(args, STORES).is_ok_and(|request| request.reads_other_keys())
    }

    fn read(_: KeyRead<'_>) {}

    fn begin(_: Vec<()>, request: Request<'_>) -> Result<Box<Sorting>, CommandError> {
        Ok(Box::new(Sorting {
            request: parse_sort(request.args, STORES)?,
            stage: Stage::Elements,
            elements: StringList::default(),
            weights: Vec::new(),
            ordered: Vec::new(),
            texts: StringList::default(),
            values: Vec::new(),
            allowance: Allowance::default(),
        }))
    }

    fn next(state: &mut Box<Sorting>, _: Request<'_>) -> Result<Option<Round>, CommandError> {
        state.next()
    }

    fn visit(state: &mut Box<Sorting>, here: KeysHere<'_>) -> Result<bool, CommandError> {
        state.visit(here)?;
        Ok(true)
    }

    fn decide(state: Box<Sorting>, decision: &mut Decision<'_, '_>) -> Outcome {
        if state.request.target.is_none() {
            decision.reply.array(state.ordered.len() * state.request.gets.len());
            state.tell(&mut |value| match value {
                Some(text) => decision.reply.bulk(text),
                None => decision.reply.null(),
            });
            return Ok(());
        }
        let len = state.ordered.len() * state.request.gets.len();
        decision.reply.integer(len as i64);
        decision.write(TARGET_KEY, move |keyspace, id, key| {
            let mut made = keyspace.make(Kind::List);
            // A missing result is stored as an empty text.
            state.tell(&mut |value| made.push(value.unwrap_or_default()));
            drop(state);
            keyspace.put_made(id, key, made.finish(), event::SORTSTORE);
        });
        Ok(())
    }
}

impl Sorting {
    fn next(&mut self) -> Result<Option<Round>, CommandError> {
        if self.stage == Stage::Elements {
            let keys = vec![RoundKey::Own(SOURCE_KEY)];
            return Ok(Some(Round { keys, is_ordered: true }));
        }
        let Self { request, elements, allowance, .. } = self;
        if self.stage == Stage::Weights {
            let names = elements.as_strings().iter().filter_map(|name| request.by.key_for(name));
            let round = allowance.round(names)?;
            if !round.keys.is_empty() {
                self.weights = vec![request.weight(None)?; round.keys.len()];
                return Ok(Some(round));
            }
            self.stage = Stage::Values;
        }
        if self.stage == Stage::Values {
            self.ordered = request.ordered(elements, &self.weights)?;
            let elements = self.ordered.iter().map(|offset| elements.at(*offset));
            let gets: Vec<&Source> = request.got_keys().collect();
            let names = elements.flat_map(|element| gets.iter().map(move |get| (get, element)));
            let names = names.filter_map(|(get, element)| get.key_for(element));
            let round = Allowance::default().round(names)?;
            if !round.keys.is_empty() {
                self.values = vec![None; round.keys.len()];
                return Ok(Some(round));
            }
        }
        Ok(None)
    }

    fn visit(&mut self, here: KeysHere<'_>) -> Outcome {
        let KeysHere { keyspace, database, keys, is_last, .. } = here;
        let now_ms = keyspace.now_ms();
        let Self { request, elements, weights, texts, values, allowance, .. } = self;
        for &(position, key) in keys {
            let entry = keyspace.read(database, &key);
            let entry = entry.as_deref();
            let mut digits = Digits::default();
            match self.stage {
                Stage::Elements => {
                    check_memory(entry.map_or(0, Entry::heap_bytes).saturating_mul(2))?;
                    *elements = request.elements(entry)?;
                }
                Stage::Weights => {
                    let value = value_behind(entry, request.by.field(), now_ms);
                    let text = value.as_ref().map(|value| value.as_text(&mut digits));
                    if request.is_alpha {
                        allowance.take(text.map_or(0, <[u8]>::len))?;
                        check_memory(text.map_or(0, <[u8]>::len))?;
                    }
                    weights[position] = request.weight(text)?;
                }
                Stage::Values | Stage::Nothing => {
                    let get_count = request.got_keys().count();
                    let get = request.got_keys().nth(position % get_count);
                    let field = get.and_then(Source::field);
                    if let Some(value) = value_behind(entry, field, now_ms) {
                        let text = value.as_text(&mut digits);
                        allowance.take(text.len())?;
                        // The texts may double as they grow.
                        check_memory(texts.bytes().saturating_add(text.len()))?;
                        values[position] = Some(texts.bytes());
                        texts.push(text);
                    }
                }
            }
        }
        if is_last {
            self.stage = match self.stage {
                Stage::Elements => Stage::Weights,
                Stage::Weights => Stage::Values,
                Stage::Values | Stage::Nothing => Stage::Nothing,
            };
        }
        Ok(())
    }

    /// Visits all results, element by element.
    fn tell(&self, visit: &mut dyn FnMut(Option<&[u8]>)) {
        let mut values = self.values.iter();
        for &offset in &self.ordered {
            for get in &self.request.gets {
                visit(match get {
                    Source::Element => Some(self.elements.at(offset)),
                    Source::Nothing => None,
                    Source::Key(_) => {
                        let value = values.next().copied().flatten();
                        value.map(|offset| self.texts.at(offset))
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::assert_documented;

    fn key(pattern: &[u8]) -> Option<(String, Option<String>)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
        let source = Source::parse(pattern);
        Some((text(source.key_for(b"7")?), source.field().map(|field| text(field.to_vec()))))
    }

    #[test]
    fn options_are_documented() {
        assert_documented(&SORT_OPTIONS, &SORT);
    }

    #[test]
    fn keys_are_named_after_elements() {
        let plain = |key: &str| Some((key.to_owned(), None));
        assert_eq!(key(b"w_*"), plain("w_7"));
        assert_eq!(key(b"*"), plain("7"));
        assert_eq!(key(b"*-*"), plain("7-*"));
        assert_eq!(key(b"h*x->name"), Some(("h7x".into(), Some("name".into()))));
        assert_eq!(key(b"h*->"), plain("h7->"));
        assert_eq!(key(b"h->n*"), plain("h->n7"));
        assert_eq!(key(b"h"), None);
        assert_eq!(key(b"h\0*"), None);
        assert_eq!(Source::parse(b"#"), Source::Element);
        assert_eq!(Source::parse(b"##"), Source::Nothing);
    }

    #[test]
    fn the_key_that_is_stored_at_is_the_last() {
        let at = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            store_at(&args)
        };
        assert_eq!(at("SORT k"), None);
        assert_eq!(at("SORT k STORE a STORE b"), Some(5));
        assert_eq!(at("SORT k GET STORE x"), None);
        assert_eq!(at("SORT k LIMIT STORE 1 STORE d"), Some(6));
        assert_eq!(at("SORT k STORE"), None);
    }

    #[test]
    fn windows_stay_within() {
        let request = |offset, count| SortRequest {
            offset,
            count,
            ..parse_sort(&[b"sort", b"k"], true).expect("nothing is wrong")
        };
        assert_eq!(request(0, -1).window(5), 0..5);
        assert_eq!(request(-3, 2).window(5), 0..2);
        assert_eq!(request(3, 9).window(5), 3..5);
        assert_eq!(request(9, 1).window(5), 5..5);
        assert_eq!(request(i64::MAX, i64::MIN).window(0), 0..0);
    }

    #[test]
    fn what_is_looked_up_is_bounded() {
        let mut allowance = Allowance(10);
        assert!(allowance.take(10).is_ok() && allowance.take(0).is_ok());
        assert!(allowance.take(1).is_err());
        let large = || vec![b'k'; 2 << 20];
        assert_eq!(keys_of((0..3).map(|_| large())), Ok(3));
        // It stops at the first key beyond the limit: without that it would not end.
        assert!(keys_of(std::iter::repeat_with(|| vec![0; 400 << 20])).is_err());
    }

    fn keys_of(names: impl Iterator<Item = Vec<u8>>) -> Result<usize, CommandError> {
        Ok(Allowance::default().round(names)?.keys.len())
    }
}
