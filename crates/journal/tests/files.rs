//! Files that a crash, a disk or a hand has changed: cut, refused, or kept whole, and never a moment that was not.

use std::ops::Range;

use basalt_journal::{
    Damage, Entries, Entry, FileHeader, FileKind, Frame, Frames, HEADER_BYTES, Kept, Scan,
    ScanError, VERSION, keep, put_open_records, put_records, put_state, put_tie, scan,
};

fn header(shard: u16, shards: u16) -> FileHeader {
    FileHeader {
        version: VERSION,
        kind: FileKind::Journal,
        shard,
        shards,
        generation: 1,
        salt: 0xfeed_0000 + u32::from(shard),
        created_ms: 1_700_000_000_000,
    }
}

/// A shard's file as it is written, with what of it is on disk.
struct File {
    header: FileHeader,
    bytes: Vec<u8>,
    /// Entries that are in no frame yet.
    body: Vec<u8>,
    framed: u64,
    cuts: Vec<Vec<u64>>,
    synced_to: u64,
    synced_bytes: usize,
    /// Where each frame begins.
    frames: Vec<usize>,
}

impl File {
    fn new(shard: u16, shards: u16) -> Self {
        let header = header(shard, shards);
        let (bytes, synced_bytes) = (header.encode().to_vec(), HEADER_BYTES);
        let (body, cuts, frames) = (Vec::new(), Vec::new(), Vec::new());
        Self { header, bytes, body, framed: 0, cuts, synced_to: 0, synced_bytes, frames }
    }

    fn position(&self) -> u64 {
        self.framed + self.body.len() as u64
    }

    fn record(&mut self, number: u32, is_tied: bool) {
        put_records(&mut self.body, &number.to_le_bytes(), is_tied);
    }

    fn frame(&mut self) {
        self.frames.push(self.bytes.len());
        let Self { header, synced_to, framed, .. } = *self;
        let cuts = std::mem::take(&mut self.cuts);
        let clock_ms = header.created_ms + self.frames.len() as u64;
        let body = &self.body;
        let frame = Frame { position: framed, synced_to, clock_ms, cuts, body };
        frame.encode(&header, &mut self.bytes);
        self.framed = self.position();
        self.body.clear();
    }

    fn sync(&mut self) {
        self.synced_to = self.framed;
        self.synced_bytes = self.bytes.len();
    }
}

/// The numbers of the records of a file up to a position.
fn numbers(bytes: &[u8], to: u64) -> Vec<u32> {
    let mut frames = Frames::of(bytes, 0).expect("the header is whole");
    let mut numbers = Vec::new();
    while let Some(frame) = frames.next_frame().expect("memory is read") {
        let kept = to.saturating_sub(frame.position).min(frame.body.len() as u64);
        for entry in Entries::of(&frame.body[..kept as usize]) {
            if let Entry::Records { bytes, .. } =
                entry.expect("positions of cuts lie between entries")
            {
                numbers
                    .push(u32::from_le_bytes(*bytes.first_chunk().expect("a record is a number")));
            }
        }
    }
    numbers
}

fn sample() -> File {
    let mut file = File::new(1, 2);
    file.record(1, false);
    file.frame();
    file.sync();
    file.record(2, true);
    put_state(&mut file.body, b"library");
    file.cuts.push(vec![3, file.position()]);
    file.frame();
    file.sync();
    file.cuts.extend([vec![300, 18], vec![u64::MAX, 18]]);
    put_tie(&mut file.body);
    file.frame();
    file.record(3, false);
    file.frame();
    file
}

/// Written by version 1, in hexadecimal; it never changes.
const FROZEN: &str = include_str!("golden/journal-1.txt");

#[test]
fn the_format_is_frozen() {
    let bytes = sample().bytes;
    let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, FROZEN.trim_end());
    let scan = scanned(&bytes).expect("it is whole");
    assert_eq!((scan.header, scan.end, scan.tail.bytes), (header(1, 2), 29, 0));
    let last_ms = header(1, 2).created_ms + 4;
    assert_eq!(scan.clock_ms, last_ms);
    assert_eq!(scan.cuts, [vec![3, 21], vec![300, 18], vec![u64::MAX, 18]]);
    assert_eq!((scan.frames, scan.ties), (4, whole_ties(4)));
    assert_eq!(numbers(&bytes, u64::MAX), [1, 2, 3]);
}

/// The ties of the sample's first frames.
fn whole_ties(frames: usize) -> Vec<Range<u64>> {
    vec![Range { start: 6, end: if frames == 2 { 21 } else { 23 } }]
}

fn scanned(bytes: &[u8]) -> Result<Scan, ScanError<std::convert::Infallible>> {
    scan(bytes, 0)
}

#[test]
fn every_cut_of_a_file_keeps_the_frames_before_it() {
    let file = sample();
    for len in HEADER_BYTES..file.bytes.len() {
        let scan = scanned(&file.bytes[..len]).expect("a cut file has a torn tail");
        let whole = file.frames.iter().skip(1).filter(|end| **end <= len).count();
        assert_eq!(scan.frames, whole as u64, "cut at {len}");
        assert_eq!(scan.tail.offset + scan.tail.bytes, len as u64);
    }
}

#[test]
fn every_flipped_byte_is_damage_or_a_torn_tail() {
    let file = sample();
    for at in HEADER_BYTES..file.bytes.len() {
        for bit in 0..8 {
            let mut bytes = file.bytes.clone();
            bytes[at] ^= 1 << bit;
            let frame = file
                .frames
                .iter()
                .rposition(|start| *start <= at)
                .expect("it is behind the header");
            let offset = file.frames[frame] as u64;
            match scanned(&bytes) {
                // The last two frames were never known to be on disk.
                Ok(scan) if frame >= 2 => {
                    assert_eq!((scan.frames, scan.ties), (frame as u64, whole_ties(frame)));
                    assert_eq!(scan.tail.offset, offset);
                }
                result => {
                    assert!(frame < 2, "byte {at}");
                    assert_eq!(result, Err(ScanError::Damage(Damage { offset })), "byte {at}");
                }
            }
        }
    }
}

#[test]
fn a_base_is_whole_or_refused() {
    let mut file = File::new(0, 1);
    file.header.kind = FileKind::Base;
    file.bytes = file.header.encode().to_vec();
    for number in 0..3 {
        file.record(number, false);
        file.frame();
    }
    assert!(scanned(&file.bytes).is_err(), "its end is missing");
    file.cuts.push(vec![file.position()]);
    file.frame();
    assert_eq!(scanned(&file.bytes).expect("it is whole").end, 18);
    for len in 0..file.bytes.len() {
        assert!(scanned(&file.bytes[..len]).is_err(), "cut at {len}");
    }
    for at in 0..file.bytes.len() {
        let mut bytes = file.bytes.clone();
        bytes[at] ^= 0x10;
        assert!(scanned(&bytes).is_err(), "byte {at}");
    }
}

#[test]
fn frames_of_an_older_file_in_the_same_place_are_no_frames() {
    let file = sample();
    let mut newer = File::new(1, 2);
    newer.header.salt = 7;
    newer.bytes = newer.header.encode().to_vec();
    newer.bytes.extend_from_slice(&file.bytes[HEADER_BYTES..]);
    let scan = scanned(&newer.bytes).expect("a torn tail");
    assert_eq!((scan.end, scan.tail.offset), (0, HEADER_BYTES as u64));
}

#[test]
fn a_file_goes_on_where_the_one_before_it_ends() {
    let mut first = sample();
    first.sync();
    let mut second = File::new(1, 2);
    (second.header.salt, second.framed, second.synced_to) = (8, 29, 29);
    second.bytes = second.header.encode().to_vec();
    second.record(4, true);
    second.frame();
    second.sync();
    second.record(5, false);
    second.frame();
    let whole = scanned(&first.bytes).expect("it is whole");
    let mut all = whole.clone();
    all.append(scan(second.bytes.as_slice(), 29).expect("it is whole"));
    assert_eq!((all.end, all.frames, all.ties.last().cloned()), (41, 6, Some(29..35)));
    // What is missing at the end of the first file was on disk before the second was begun.
    for missing in [23, 17] {
        let found = scan(second.bytes.as_slice(), missing);
        let offset = HEADER_BYTES as u64;
        assert_eq!(found, Err(ScanError::Damage(Damage { offset })));
    }
    // Of the second, nothing may be there, or its first frame be torn.
    assert_eq!(scan(&second.bytes[..HEADER_BYTES], 29).expect("it is whole").end, 29);
    let mut torn = second.bytes.clone();
    torn.truncate(second.frames[1]);
    torn[HEADER_BYTES] ^= 1;
    assert_eq!(scan(torn.as_slice(), 29).expect("a torn tail").end, 29);
    torn.extend_from_slice(&second.bytes[second.frames[1]..]);
    assert!(scan(torn.as_slice(), 29).is_err(), "its first frame was on disk");
}

#[test]
fn what_a_base_holds_is_a_moment() {
    let scan_of = |file: &File| scanned(&file.bytes).expect("it is whole");
    let (mut first, mut second) = (File::new(0, 2), File::new(1, 2));
    for number in 0..3 {
        first.record(number, number == 1);
        second.record(number, true);
    }
    second.cuts.push(vec![6, 6]);
    first.frame();
    second.frame();
    let scans = [scan_of(&first), scan_of(&second)];
    let to = |from: [u64; 2]| keep(&scans, &from).iter().map(|kept| kept.to).collect::<Vec<_>>();
    assert_eq!(to([0, 0]), [6, 6]);
    // Behind the bases what is tied needs a cut, and the rest does not.
    assert_eq!(to([12, 12]), [18, 12]);
    // What a base holds may be missing in the journal.
    assert_eq!(to([12, 30]), [18, 30]);
}

#[test]
fn records_over_several_frames_count_only_together() {
    for is_tied in [false, true] {
        let mut file = File::new(0, 1);
        file.record(1, false);
        file.cuts.push(vec![file.position()]);
        file.frame();
        put_open_records(&mut file.body, &2_u32.to_le_bytes()[..1], is_tied);
        file.frame();
        put_open_records(&mut file.body, &2_u32.to_le_bytes()[1..3], is_tied);
        file.frame();
        put_records(&mut file.body, &2_u32.to_le_bytes()[3..], is_tied);
        file.frame();
        let ends: Vec<usize> = file.frames[1..].iter().copied().chain([file.bytes.len()]).collect();
        let kept = ends.iter().map(|end| {
            let scan = scanned(&file.bytes[..*end]).expect("it is whole");
            keep(&[scan], &[0])[0]
        });
        let mut kept: Vec<Kept> = kept.collect();
        let last = kept.pop().expect("four");
        assert_eq!(kept.iter().map(|kept| kept.to).collect::<Vec<_>>(), [6, 6, 6]);
        assert_eq!(kept.iter().map(|kept| kept.dropped).collect::<Vec<_>>(), [0, 3, 7]);
        // Without a cut behind it, what is tied does not count.
        assert_eq!(last.to, if is_tied { 6 } else { 16 });
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % count
    }
}

/// What a machine leaves of a file when it goes down: what was synced, and of each frame behind it all, nothing
/// (zeros, as of a page that was never written), or a part; then the file may end early.
fn after_power_loss(file: &File, random: &mut Random) -> Vec<u8> {
    let mut bytes = file.bytes.clone();
    let starts = file.frames.iter().filter(|start| **start >= file.synced_bytes);
    let starts: Vec<usize> = starts.copied().chain([bytes.len()]).collect();
    for pair in starts.windows(2) {
        let lost_from = match random.below(3) {
            0 => pair[0],
            1 => pair[0] + random.below((pair[1] - pair[0]) as u64) as usize,
            _ => pair[1],
        };
        bytes[lost_from..pair[1]].fill(0);
    }
    if random.below(2) == 0 {
        let unsynced = (bytes.len() - file.synced_bytes) as u64;
        bytes.truncate(file.synced_bytes + random.below(unsynced + 1) as usize);
    }
    bytes
}

/// What happened, in the order in which it did.
struct Op {
    number: u32,
    /// Each shard concerned, and the position behind its part.
    parts: Vec<(usize, u64)>,
    is_tied: bool,
}

/// Plays a history, loses power at its end, and returns what each op's shards kept of it.
fn play(seed: u64, is_always: bool) {
    let mut random = Random(seed);
    let shards = 1 + random.below(4) as usize;
    let mut files: Vec<File> = (0..shards).map(|s| File::new(s as u16, shards as u16)).collect();
    let mut ops: Vec<Op> = Vec::new();
    // Cuts whose own frame is on disk, and each with the file that holds it until then.
    let mut cuts: Vec<(usize, u64, Vec<u64>)> = Vec::new();
    for number in 0..random.below(120) as u32 {
        let shard = random.below(shards as u64) as usize;
        match random.below(10) {
            0..=3 => {
                files[shard].record(number, !is_always);
                let parts = vec![(shard, files[shard].position())];
                ops.push(Op { number, parts, is_tied: !is_always });
            }
            4 => {
                let first = random.below(shards as u64) as usize;
                let mut concerned = vec![first, shard];
                concerned.dedup();
                let mut parts = Vec::new();
                for at in concerned {
                    files[at].record(number, true);
                    parts.push((at, files[at].position()));
                }
                ops.push(Op { number, parts, is_tied: true });
            }
            5 => {
                let positions: Vec<u64> = files.iter().map(File::position).collect();
                files[shard].cuts.push(positions.clone());
                cuts.push((shard, files[shard].bytes.len() as u64, positions));
            }
            6 | 7 => files[shard].frame(),
            _ => files[shard].sync(),
        }
    }
    // A cut is known once its frame is synced, and complete once all files are synced up to it.
    let complete: Vec<&Vec<u64>> = cuts
        .iter()
        .filter(|(at, begun, _)| files[*at].synced_bytes as u64 > *begun)
        .map(|(_, _, positions)| positions)
        .filter(|cut| cut.iter().zip(&files).all(|(position, file)| *position <= file.synced_to))
        .collect();
    let is_durable = |op: &Op| {
        let is_cut = complete.iter().any(|cut| op.parts.iter().all(|(at, to)| *to <= cut[*at]));
        // What is behind a tied entry that no cut covers waits with it.
        let is_free = !op.is_tied && {
            let (at, to) = op.parts[0];
            let mut ties = ops.iter().filter(|op| op.is_tied).flat_map(|op| &op.parts);
            let covered = complete.iter().map(|cut| cut[at]).max().unwrap_or(0);
            to <= files[at].synced_to
                && !ties.any(|(tied_at, tied)| *tied_at == at && *tied > covered && *tied <= to)
        };
        is_cut || is_free
    };
    let left: Vec<Vec<u8>> = files.iter().map(|f| after_power_loss(f, &mut random)).collect();
    let scans: Vec<Scan> = left.iter().map(|bytes| scanned(bytes).expect("a torn tail")).collect();
    let kept: Vec<Kept> = keep(&scans, &vec![0; shards]);
    let held: Vec<Vec<u32>> =
        left.iter().zip(&kept).map(|(bytes, kept)| numbers(bytes, kept.to)).collect();
    let mut lost = None;
    for op in &ops {
        let there = op.parts.iter().filter(|(at, _)| held[*at].contains(&op.number)).count();
        assert!(there == 0 || there == op.parts.len(), "seed {seed}: half of {}", op.number);
        assert!(there > 0 || !is_durable(op), "seed {seed}: {} was acknowledged", op.number);
        if !is_always {
            // Without waiting for the disk, what is left is one moment: nothing behind the first loss.
            lost = lost.or((there == 0).then_some(op.number));
            assert!(lost.is_none() || there == 0, "seed {seed}: {} is behind {lost:?}", op.number);
        }
    }
}

#[test]
fn whatever_of_the_unsynced_is_lost_the_rest_is_one_moment() {
    for seed in 0..3_000 {
        play(seed, false);
    }
}

#[test]
fn what_was_acknowledged_is_kept_and_transactions_are_whole() {
    for seed in 0..3_000 {
        play(seed, true);
    }
}
