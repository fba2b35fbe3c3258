//! Packed: changes of small collections compared with a plain vector, and untrusted bytes.

use basalt_structures::{BothWays, Content, Forwards, Packed, PackedVec, Walk};

use super::Draw;

/// Draws changes for both kinds of runs.
pub(super) fn run(data: &[u8]) {
    follow::<Forwards>(data);
    follow::<BothWays>(data);
}

/// Untrusted bytes: they are refused, or equal what writing their elements produces.
pub(super) fn foreign(data: &[u8]) {
    refused_or_right::<Forwards>(data);
    refused_or_right::<BothWays>(data);
}

pub(super) fn corpus() -> Vec<Vec<u8>> {
    let mut packed = PackedVec::<BothWays>::default();
    let mut forwards = PackedVec::<Forwards>::default();
    for element in texts() {
        packed.push(Content::of(&element));
        forwards.push(Content::of(&element));
    }
    vec![packed.into_bytes(), forwards.into_bytes(), vec![0], Vec::new()]
}

/// Strings of all lengths, and integers of all sizes.
fn texts() -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = [0, 1, 5, 62, 63, 64, 65, 4095, 4096, 5000]
        .into_iter()
        .map(|len| vec![b'x'; len])
        .collect();
    for integer in [0, 127, 128, -1, -5000, 32_768, 8_388_608, i64::MAX, i64::MIN] {
        texts.push(integer.to_string().into_bytes());
    }
    texts
}

fn text(draw: &mut Draw<'_>) -> Vec<u8> {
    let known = texts();
    match draw.below(3) {
        0 => known[draw.below(known.len())].clone(),
        1 => draw.bytes(70).to_vec(),
        _ => (i64::from(draw.byte()) << draw.below(56)).to_string().into_bytes(),
    }
}

fn follow<W: Walk>(data: &[u8]) {
    /// LIMIT: elements, beyond which steps only remove.
    const ELEMENTS_MAX: usize = 300;
    let mut draw = Draw::new(data);
    let (mut packed, mut model) = (PackedVec::<W>::default(), Vec::<Vec<u8>>::new());
    while !draw.is_over() {
        let grows = model.len() < ELEMENTS_MAX;
        if draw.below(2) == 0 && grows {
            let text = text(&mut draw);
            packed.push(Content::of(&text));
            model.push(text);
            continue;
        }
        let at = draw.below(model.len() + 1);
        let span = packed.view().span(at, draw.below(4)).expect("because it is within");
        let count = if grows { draw.below(4) } else { 0 };
        let inserted: Vec<Vec<u8>> = (0..count).map(|_| text(&mut draw)).collect();
        let contents: Vec<_> = inserted.iter().map(|text| Content::of(text)).collect();
        let splice = packed.view().splice(span, &contents);
        let mut written = vec![0xAA; splice.bytes()];
        splice.write(&mut written);
        packed.splice(span, &contents);
        assert_eq!(packed.as_bytes(), written, "both ways of a change give the same bytes");
        let end = (at + span.count).min(model.len());
        model.splice(at..end, inserted);
    }
    let view = Packed::<W>::validate(packed.as_bytes()).expect("because it was made here");
    assert_eq!(elements(view), model);
    assert_eq!(view.len(), model.len());
    if let Some(last) = model.last() {
        let found = view.find(Content::of(last), 1).map(|(index, _)| index);
        assert_eq!(found, model.iter().position(|element| element == last));
    }
}

fn elements<W: Walk>(packed: Packed<'_, W>) -> Vec<Vec<u8>> {
    let text = |content: Content<'_>| {
        let mut text = Vec::new();
        content.append_to(&mut text);
        text
    };
    packed.iter().map(text).collect()
}

fn refused_or_right<W: Walk>(data: &[u8]) {
    let Some(packed) = Packed::<W>::validate(data) else { return };
    let mut again = PackedVec::<W>::default();
    elements(packed).iter().for_each(|element| again.push(Content::of(element)));
    assert_eq!(again.as_bytes(), data, "what passes is what writing its elements makes");
}
