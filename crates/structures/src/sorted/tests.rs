//! Sorted sets compared with plain maps, and the bounds of their memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn sorted() -> Sorted {
    Sorted::new(&KeyHasher::new(0x5EED))
}

/// The model of a sorted set: members with scores, in order.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, f64>);

impl Model {
    fn ordered(&self) -> Vec<(f64, &[u8])> {
        let mut all: Vec<(f64, &[u8])> = self.0.iter().map(|(m, s)| (*s, &m[..])).collect();
        all.sort_by(|one, other| one.0.partial_cmp(&other.0).unwrap().then(one.1.cmp(other.1)));
        all
    }
}

fn agree(set: &Sorted, model: &Model) {
    set.check();
    let ordered = model.ordered();
    let walked: Vec<(f64, &[u8])> = set.iter().map(|s| (s.score, s.member)).collect();
    assert_eq!(walked, ordered);
    let mut back: Vec<_> = set.walk_back(0..set.len()).map(|s| (s.score, s.member)).collect();
    back.reverse();
    assert_eq!(back, ordered);
    for (rank, (score, member)) in ordered.iter().enumerate().step_by(7) {
        assert_eq!(set.rank(member), Some((rank, *score)));
        assert_eq!(set.score(member).map(f64::to_bits), Some(score.to_bits()));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(u16, f64),
    Remove(u16),
    RemoveRange(u16, u8),
}

fn any_score() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-40i32..40).prop_map(f64::from),
        4 => -1e6..1e6,
        1 => prop_oneof![
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(-0.0),
            Just(0.0),
            Just(f64::MIN_POSITIVE),
            Just(5e-324),
            Just(f64::MAX),
            Just(2_147_483_648.0),
            Just(-2_147_483_648.0)
        ],
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u16..900, any_score()).prop_map(|(member, score)| Step::Set(member, score)),
        3 => (0u16..900).prop_map(Step::Remove),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(at, count)| Step::RemoveRange(at, count)),
    ]
}

/// Names of all lengths: a few too long for a head's length field.
fn name(number: u16) -> Vec<u8> {
    let mut name = format!("member:{number}").into_bytes();
    if number.is_multiple_of(97) {
        name.extend_from_slice(&[b'x'; 300]);
    }
    if number == 0 { Vec::new() } else { name }
}

fn run(steps: &[Step]) {
    let (mut set, mut model) = (sorted(), Model::default());
    for step in steps {
        match *step {
            Step::Set(member, score) => {
                let member = name(member);
                let before = set.set(&member, score);
                assert_eq!(before, model.0.get(&member).copied());
                // A score that compares equal is kept: 0 does not become -0.
                if before != Some(score) {
                    model.0.insert(member, score);
                }
            }
            Step::Remove(member) => {
                let member = name(member);
                assert_eq!(set.remove(&member), model.0.remove(&member));
            }
            Step::RemoveRange(at, count) => {
                let from = usize::from(at) % (set.len() + 1);
                let to = (from + usize::from(count) / 4).min(set.len());
                let gone: Vec<Vec<u8>> =
                    model.ordered()[from..to].iter().map(|(_, member)| member.to_vec()).collect();
                set.remove_range(from..to);
                gone.iter().for_each(|member| assert!(model.0.remove(member).is_some()));
            }
        }
        assert_eq!(set.len(), model.0.len());
    }
    agree(&set, &model);
    ranges_agree(&set, &model);
}

fn ranges_agree(set: &Sorted, model: &Model) {
    let ordered = model.ordered();
    let bounds = [f64::NEG_INFINITY, -7.0, -0.0, 0.0, 3.5, 12.0, f64::INFINITY];
    for (min, max) in bounds.iter().flat_map(|min| bounds.map(|max| (*min, max))) {
        for (without_min, without_max) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let range = ScoreRange { min, max, without_min, without_max };
            let is_in = |score: f64| range.is_above_min(score) && range.is_below_max(score);
            let wanted = ordered.iter().filter(|(score, _)| is_in(*score)).count();
            let ranks = set.ranks_by_score(&range);
            assert_eq!(ranks.len(), wanted, "{range:?}");
            assert!(set.walk(ranks).all(|scored| is_in(scored.score)), "{range:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 96 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn it_does_what_a_plain_model_does(
        steps in prop::collection::vec(any_step(), 0..if cfg!(miri) { 300 } else { 4000 })
    ) {
        run(&steps);
    }
}

fn count() -> u32 {
    if cfg!(miri) { 500 } else { 60_000 }
}

/// Unordered numbers.
fn scattered(index: u32) -> u32 {
    index.wrapping_mul(2_654_435_761) ^ 0x9E37
}

#[test]
fn it_grows_and_shrinks_in_every_order() {
    let orders: [fn(u32) -> f64; 4] =
        [|i| f64::from(i), |i| -f64::from(i), |i| f64::from(scattered(i)), |_| 1.0];
    for order in orders {
        let (mut set, mut model) = (sorted(), Model::default());
        for index in 0..count() {
            let member = format!("m{}", scattered(index)).into_bytes();
            assert_eq!(set.set(&member, order(index)), None);
            model.0.insert(member, order(index));
        }
        agree(&set, &model);
        let full = set.heap_bytes();
        for index in 0..count() {
            if !index.is_multiple_of(50) {
                let member = format!("m{}", scattered(index)).into_bytes();
                assert_eq!(set.remove(&member), model.0.remove(&member));
            }
        }
        agree(&set, &model);
        assert!(set.heap_bytes() < full / 8, "{} of {full} bytes are left", set.heap_bytes());
        set.remove_range(0..set.len());
        assert!(set.is_empty());
        set.check();
    }
}

#[test]
fn memory_is_packed() {
    if cfg!(miri) {
        return;
    }
    let mut set = sorted();
    for index in 0..200_000u32 {
        set.set(format!("member:{:010}", scattered(index)).as_bytes(), f64::from(scattered(index)));
    }
    let each = set.heap_bytes() as f64 / set.len() as f64;
    assert!(each < 46.5, "a member of 17 bytes takes {each}");
}

#[test]
fn lex_ranges_are_ranges_of_bytes() {
    let mut set = sorted();
    let names: Vec<String> = (0..500).map(|index| format!("{index:03}")).collect();
    names.iter().for_each(|name| _ = set.set(name.as_bytes(), 0.0));
    let bounds = [
        LexBound::Lowest,
        LexBound::Highest,
        LexBound::With(b"100"),
        LexBound::Without(b"100"),
        LexBound::With(b"1005"),
        LexBound::Without(b"400"),
        LexBound::With(b"400"),
    ];
    for (min, max) in bounds.iter().flat_map(|min| bounds.map(|max| (*min, max))) {
        let is_in = |name: &[u8]| min.is_min_of(name) && max.is_max_of(name);
        let wanted: Vec<&[u8]> =
            names.iter().map(|name| name.as_bytes()).filter(|name| is_in(name)).collect();
        let found: Vec<&[u8]> =
            set.walk(set.ranks_by_lex(min, max)).map(|scored| scored.member).collect();
        assert_eq!(found, wanted, "{min:?} {max:?}");
    }
}

/// Members that stay are visited, whatever is added or removed between the calls of a scan.
#[test]
fn a_scan_meets_all_that_stay() {
    for seed in 0..if cfg!(miri) { 2 } else { 40u32 } {
        let mut set = sorted();
        let stays = |index: u32| index.is_multiple_of(5);
        let name = |index: u32| format!("{seed}:{index}").into_bytes();
        let most = if cfg!(miri) { 600 } else { 6000 };
        let at_first = if seed.is_multiple_of(2) { most } else { most / 20 };
        (0..at_first).for_each(|index| _ = set.set(&name(index), f64::from(index)));
        let mut met = std::collections::BTreeSet::new();
        let (mut cursor, mut calls) = (0, 0);
        loop {
            cursor = set.scan(cursor, 10, |scored| _ = met.insert(scored.member.to_vec()));
            if cursor == 0 {
                break;
            }
            calls += 1;
            assert!(calls < 100_000, "a scan ends");
            // Grows from small, or shrinks from large.
            for index in (calls * 40..calls * 40 + 40).filter(|index| *index < most) {
                if seed.is_multiple_of(2) {
                    if !stays(index) {
                        set.remove(&name(index));
                    }
                } else if index >= at_first {
                    set.set(&name(index), f64::from(index));
                }
            }
        }
        for index in (0..at_first).filter(|index| stays(*index)) {
            assert!(met.contains(&name(index)), "seed {seed}: {index} was there all the while");
        }
    }
}

#[test]
fn it_is_dropped_in_slices() {
    let mut set = sorted();
    (0..count()).for_each(|index| _ = set.set(format!("{index}").as_bytes(), f64::from(index)));
    let (before, mut freed, mut slices) = (set.heap_bytes(), 0, 0);
    while set.heap_bytes() > 200 {
        freed += set.drop_some(500);
        slices += 1;
    }
    assert_eq!(freed, before - set.heap_bytes());
    assert!(slices > count() / 600, "each slice is small");
}
