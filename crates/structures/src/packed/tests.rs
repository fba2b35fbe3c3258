//! Packed runs compared with a plain vector of byte strings, and untrusted bytes.

use proptest::prelude::*;

use super::*;

/// Cases are fewer under miri, where each takes a second.
fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 3 } else { 2000 };
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn texts<W: Walk>(packed: Packed<'_, W>) -> Vec<Vec<u8>> {
    packed.iter().map(text).collect()
}

fn text(content: Content<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    content.append_to(&mut out);
    assert_eq!(out.len(), content.text_len());
    out
}

/// Texts of all lengths, and integers at the limits of their forms.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let border =
        prop::sample::select(vec![0i64, 127, 4095, 32767, 8_388_607, i64::MAX >> 32, i64::MAX]);
    let integer = (border, -2i64..=2, any::<bool>()).prop_map(|(border, by, negative)| {
        let value = border.saturating_add(by);
        (if negative { value.wrapping_neg() } else { value }).to_string().into_bytes()
    });
    prop_oneof![
        4 => integer,
        4 => prop::collection::vec(any::<u8>(), 0..8),
        2 => prop::collection::vec(any::<u8>(), 55..70),
        1 => (4000usize..9000).prop_map(|len| vec![b'x'; len]),
        1 => "-?[0-9]{1,21}".prop_map(String::into_bytes),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    Splice { at: usize, removed: usize, inserted: Vec<Vec<u8>> },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any_text().prop_map(Step::Push),
        (any::<usize>(), 0usize..4, prop::collection::vec(any_text(), 0..4))
            .prop_map(|(at, removed, inserted)| Step::Splice { at, removed, inserted }),
    ]
}

fn follow<W: Walk>(steps: &[Step]) -> (PackedVec<W>, Vec<Vec<u8>>) {
    let (mut packed, mut model) = (PackedVec::<W>::default(), Vec::<Vec<u8>>::new());
    for step in steps {
        match step {
            Step::Push(text) => {
                packed.push(Content::of(text));
                model.push(text.clone());
            }
            Step::Splice { at, removed, inserted } => {
                let at = at % (model.len() + 1);
                let end = (at + removed).min(model.len());
                let span = packed.view().span(at, *removed).expect("because it is within");
                assert_eq!(span.count, end - at);
                let contents: Vec<_> = inserted.iter().map(|text| Content::of(text)).collect();
                let splice = packed.view().splice(span, &contents);
                let mut written = vec![0xAA; splice.bytes()];
                splice.write(&mut written);
                assert_eq!(splice.count(), model.len() - span.count + inserted.len());
                packed.splice(span, &contents);
                assert_eq!(packed.as_bytes(), written, "both ways of a change give the same bytes");
                model.splice(at..end, inserted.iter().cloned());
            }
        }
    }
    (packed, model)
}

fn agrees<W: Walk>(packed: &PackedVec<W>, model: &[Vec<u8>]) {
    let view = Packed::<W>::validate(packed.as_bytes()).expect("because it was made here");
    assert_eq!(view.len(), model.len());
    assert_eq!(view.is_empty(), model.is_empty());
    assert_eq!(texts(view), model);
    for (index, wanted) in model.iter().enumerate() {
        assert_eq!(view.get(index).map(text).as_ref(), Some(wanted));
        for step in [1, 2, 3] {
            let found = view.find(Content::of(wanted), step).map(|(index, _)| index);
            let expected = (0..model.len()).step_by(step).find(|&at| &model[at] == wanted);
            assert_eq!(found, expected);
        }
    }
    assert_eq!(view.get(model.len()), None);
    assert!(view.span(model.len() + 1, 1).is_none());
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn it_holds_what_a_vector_holds(steps in prop::collection::vec(any_step(), 0..24)) {
        let (packed, model) = follow::<Forwards>(&steps);
        agrees(&packed, &model);
        let (packed, model) = follow::<BothWays>(&steps);
        agrees(&packed, &model);
        let backwards: Vec<_> = packed.view().iter().rev().map(text).collect();
        let expected: Vec<_> = model.iter().rev().cloned().collect();
        prop_assert_eq!(backwards, expected);
        let run = packed.view().run();
        for index in 0..=model.len() {
            let there = run.seek_back(index).and_then(|at| run.at(at)).map(|(content, _)| text(content));
            prop_assert_eq!(there.as_ref(), model.iter().rev().nth(index));
        }
        let mut walk = packed.view().iter();
        let (mut first, mut last) = (0, model.len());
        while let Some(content) = walk.next() {
            prop_assert_eq!(text(content), &model[first][..]);
            first += 1;
            let Some(content) = walk.next_back() else { break };
            last -= 1;
            prop_assert_eq!(text(content), &model[last][..]);
        }
        prop_assert_eq!(first, last);
    }

    /// Bytes that pass equal those that writing their elements gives; nothing panics, whatever the
    /// bytes.
    #[test]
    fn foreign_bytes_are_refused_or_right(
        steps in prop::collection::vec(any_step(), 0..6),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in any::<usize>(),
    ) {
        refused_or_right::<Forwards>(&steps, &damage, cut);
        refused_or_right::<BothWays>(&steps, &damage, cut);
    }

    #[test]
    fn noise_is_refused_or_right(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        right_if_valid::<Forwards>(&bytes);
        right_if_valid::<BothWays>(&bytes);
    }
}

fn refused_or_right<W: Walk>(steps: &[Step], damage: &[(usize, u8)], cut: usize) {
    let (packed, _) = follow::<W>(steps);
    let mut bytes = packed.into_bytes();
    for &(at, byte) in damage {
        let len = bytes.len();
        bytes[at % len] = byte;
    }
    right_if_valid::<W>(&bytes);
    bytes.truncate(cut % (bytes.len() + 1));
    right_if_valid::<W>(&bytes);
}

fn right_if_valid<W: Walk>(bytes: &[u8]) {
    let Some(packed) = Packed::<W>::validate(bytes) else { return };
    let mut again = PackedVec::<W>::default();
    for content in packed.iter() {
        assert_eq!(Content::of(&text(content)), content, "an integer is kept as one");
        again.push(content);
    }
    assert_eq!(again.as_bytes(), bytes);
    assert_eq!(packed.iter().count(), packed.len());
}

#[test]
fn short_elements_cost_a_byte_for_each_way() {
    let string = Content::Bytes(&[b'x'; 18]);
    assert_eq!(element_bytes::<Forwards>(string), 19);
    assert_eq!(element_bytes::<BothWays>(string), 20);
    let sizes = |value| {
        let content = Content::Integer(value);
        (element_bytes::<Forwards>(content), element_bytes::<BothWays>(content))
    };
    assert_eq!([0, 127].map(sizes), [(1, 1); 2]);
    assert_eq!([-1, 128, -4096, 4095].map(sizes), [(2, 3); 4]);
    assert_eq!([-4097, 4096, i64::from(i16::MAX)].map(sizes), [(3, 4); 3]);
    assert_eq!([1 << 15, 1 << 23, 1 << 31].map(sizes), [(4, 5), (5, 6), (9, 10)]);
}

#[test]
fn counts_beyond_a_byte_are_walked() {
    let mut packed = PackedVec::<Forwards>::default();
    for count in 1..=if cfg!(miri) { 270 } else { 600 } {
        packed.push(Content::Integer(count));
        assert_eq!(packed.view().len(), count as usize);
    }
    while !packed.view().is_empty() {
        let count = packed.view().len();
        let span = packed.view().span(0, 7).expect("because elements are left");
        packed.splice(span, &[]);
        assert_eq!(packed.view().len(), count.saturating_sub(7));
    }
}

#[test]
fn only_what_prints_the_same_is_an_integer() {
    for text in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
        assert!(matches!(Content::of(text.as_bytes()), Content::Integer(_)), "{text}");
    }
    for text in ["", "-", "-0", "00", "01", "+1", "1 ", "9223372036854775808", "1e3", "-09"] {
        assert_eq!(Content::of(text.as_bytes()), Content::Bytes(text.as_bytes()));
    }
}
