use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [7; 32];

fn written(entries: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let mut file = header(Kind::Log, 3, &[9; 32]).to_vec();
    let mut chain = Chain::begin(&KEY, &file, Kind::Log, 3).unwrap();
    let mut ends = vec![file.len()];
    for entry in entries {
        chain.seal(entry, true, &mut file).unwrap();
        ends.push(file.len());
    }
    (file, ends)
}

/// As [`written`], each batch synced before the next.
fn batches(batches: &[&[Vec<u8>]]) -> (Vec<u8>, Vec<usize>) {
    let mut file = header(Kind::Log, 3, &[9; 32]).to_vec();
    let mut chain = Chain::begin(&KEY, &file, Kind::Log, 3).unwrap();
    let mut ends = vec![file.len()];
    for batch in batches {
        for (place, entry) in batch.iter().enumerate() {
            chain.seal(entry, place == 0, &mut file).unwrap();
            ends.push(file.len());
        }
    }
    (file, ends)
}

#[test]
fn a_segment_of_version_1_is_read() {
    let salt = [9; 32];
    let mut file = header_of(WITHOUT_MARKS, Kind::Log, 3, &salt).to_vec();
    let mut chain = Chain::begin(&KEY, &file, Kind::Log, 3).unwrap();
    let entries = [vec![1; 40], vec![2; 40], vec![3; 40]];
    for entry in &entries {
        chain.seal(entry, false, &mut file).unwrap();
    }
    assert_eq!(read(&file).unwrap(), all(&entries));
    // Without marks a hole with anything whole behind it is damage.
    file[HEADER + 70] ^= 1;
    assert!(matches!(read(&file).unwrap()[..], [Step::Entry(0, _), Step::Damage { .. }, Step::Entry(2, _)]));
}

#[test]
fn a_newer_version_is_no_damage_and_a_flipped_bit_no_newer_version() {
    let (mut file, _) = written(&[vec![1; 40], vec![2; 40]]);
    let tried = |file: &[u8]| Chain::begin(&KEY, file, Kind::Log, 3).map(drop);
    file[8] = 7;
    assert_eq!(tried(&file), Err(BadHeader::Damaged), "what follows is of a version that is known");
    let newer = header_of(7, Kind::Log, 3, &[9; 32]);
    assert_eq!(tried(&newer), Err(BadHeader::Newer(7)));
    let sealed = [&newer[..], &[5; 60]].concat();
    assert_eq!(tried(&sealed), Err(BadHeader::Newer(7)));
    assert_eq!(tried(&header_of(7, Kind::Checkpoint, 3, &[9; 32])), Err(BadHeader::Damaged));
    assert_eq!(tried(&header_of(0, Kind::Log, 3, &[9; 32])), Err(BadHeader::Damaged));
}

fn read(file: &[u8]) -> Option<Vec<Step>> {
    Reader::new(&KEY, file, Kind::Log, 3).ok().map(Iterator::collect)
}

fn all(entries: &[Vec<u8>]) -> Vec<Step> {
    (0..).zip(entries).map(|(count, entry)| Step::Entry(count, entry.clone())).collect()
}

fn entries() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..12)
}

proptest! {
    #[test]
    fn comes_back_as_written(entries in entries(), zeros in 0_usize..100) {
        let (mut file, _) = written(&entries);
        file.resize(file.len() + zeros, 0);
        let steps = read(&file).unwrap();
        prop_assert_eq!(steps, all(&entries));
    }

    #[test]
    fn any_cut_loses_only_a_suffix(entries in entries(), cut in any::<prop::sample::Index>()) {
        let (file, ends) = written(&entries);
        let cut = HEADER + cut.index(file.len() - HEADER + 1);
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        let steps = read(&file[..cut]).unwrap();
        let kept = all(&entries[..whole]);
        prop_assert_eq!(&steps[..whole], &kept[..]);
        // A cut inside an entry is told, unless all that is left of it is zeros.
        let left = &file[ends[whole]..cut];
        let torn = left.iter().any(|byte| *byte != 0);
        prop_assert_eq!(steps.len(), whole + usize::from(torn));
    }

    /// One batch of one sync, of which the disk has only some pages.
    #[test]
    fn a_hole_in_the_last_batch_is_a_torn_tail(
        before in entries(),
        batch in entries(),
        hole in any::<prop::sample::Index>(),
        width in 1_usize..60,
    ) {
        let (mut file, ends) = batches(&[&before, &batch]);
        let start = ends[before.len()];
        let hole = start + hole.index(file.len() - start);
        let until = file.len().min(hole + width);
        file[hole..until].fill(0);
        let steps = read(&file).unwrap();
        let whole = ends.iter().filter(|end| **end <= hole).count() - 1;
        let all = all(&[before, batch].concat());
        prop_assert!(steps.len() >= whole && steps[..whole] == all[..whole]);
        prop_assert!(steps.iter().all(|step| !matches!(step, Step::Damage { .. })), "{steps:?}");
    }

    /// The same hole, but a later batch was begun: this one was durable.
    #[test]
    fn a_hole_in_an_earlier_batch_is_damage(
        first in entries(),
        second in entries(),
        hole in any::<prop::sample::Index>(),
    ) {
        let (mut file, ends) = batches(&[&first, &second]);
        // Not in the tag that the second batch is bound to.
        let at = HEADER + hole.index(ends[first.len()] - TAG - HEADER);
        file[at] ^= 1;
        let steps = read(&file).unwrap();
        prop_assert!(steps.iter().any(|step| matches!(step, Step::Damage { .. })), "{steps:?}");
        let all = all(&[first, second].concat());
        prop_assert_eq!(steps.last(), all.last());
    }

    #[test]
    fn any_flipped_bit_is_found(entries in entries(), bit in any::<prop::sample::Index>()) {
        let (mut file, _) = written(&entries);
        let bit = bit.index(file.len() * 8);
        file[bit / 8] ^= 1 << (bit % 8);
        let found = read(&file).is_none_or(|steps| steps.iter().any(|step| !matches!(step, Step::Entry(..))));
        prop_assert!(found);
    }

    #[test]
    fn nothing_false_is_ever_read(entries in entries(), bit in any::<prop::sample::Index>()) {
        let (mut file, _) = written(&entries);
        let bit = bit.index(file.len() * 8);
        file[bit / 8] ^= 1 << (bit % 8);
        for step in read(&file).unwrap_or_default() {
            if let Step::Entry(_, plain) = step {
                prop_assert!(entries.contains(&plain));
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut file = header(Kind::Log, 3, &[9; 32]).to_vec();
        file.extend(bytes);
        let _ = read(&file);
    }
}
