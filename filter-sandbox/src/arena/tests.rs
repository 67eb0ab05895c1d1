//! The arena against a model: blocks never overlap, keep their bytes, come zeroed when asked.

use std::alloc::Layout;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Take { size: usize, align: usize },
    Resize { which: usize, size: usize },
    Free { which: usize },
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![1..64usize, 1..2000usize, 60_000..70_000usize, 60_000..400_000usize]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (size(), 0..8u32).prop_map(|(size, align)| Step::Take { size, align: 1 << align }),
        2 => (any::<usize>(), size()).prop_map(|(which, size)| Step::Resize { which, size }),
        2 => any::<usize>().prop_map(|which| Step::Free { which }),
    ]
}

/// A room is as aligned as what the kernel maps.
#[repr(align(4096))]
#[derive(Clone, Copy)]
struct Page(#[expect(dead_code, reason = "used by its address")] [u8; PAGE]);

struct Block {
    at: *mut u8,
    layout: Layout,
    mark: u8,
}

impl Block {
    fn fill(&self) {
        // SAFETY: the block is ours and that long.
        unsafe { std::ptr::write_bytes(self.at, self.mark, self.layout.size()) };
    }

    fn intact(&self, length: usize) -> bool {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.at, length) }.iter().all(|byte| *byte == self.mark)
    }

    fn range(&self) -> (usize, usize) {
        (self.at as usize, self.at as usize + self.layout.size())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn blocks_are_disjoint_and_keep_their_bytes(steps in prop::collection::vec(step(), 1..200)) {
        let mut room = vec![Page([0; PAGE]); (8 << 20) / PAGE];
        let start: *mut u8 = room.as_mut_ptr().cast();
        // SAFETY: one past the end of the room.
        let end = unsafe { start.add(8 << 20) };
        let mut state = State { start, end, next: start, touched: start, ..State::NONE };
        let mut blocks: Vec<Block> = Vec::new();
        let mut mark = 0u8;
        for step in steps {
            mark = mark.wrapping_add(1);
            match step {
                Step::Take { size, align } => {
                    let layout = Layout::from_size_align(size, align).unwrap();
                    // SAFETY: this thread alone uses the state.
                    let at = unsafe { state.allocate(layout) };
                    if at.is_null() {
                        continue;
                    }
                    prop_assert_eq!(at as usize % align, 0);
                    blocks.push(Block { at, layout, mark });
                }
                Step::Resize { which, size } if !blocks.is_empty() => {
                    let index = which % blocks.len();
                    let block = &mut blocks[index];
                    // SAFETY: the block is of that layout and in use.
                    let at = unsafe { state.resize(block.at, block.layout, size) };
                    if at.is_null() {
                        continue;
                    }
                    let kept = block.layout.size().min(size);
                    block.at = at;
                    block.layout = Layout::from_size_align(size, block.layout.align()).unwrap();
                    prop_assert!(block.intact(kept));
                    prop_assert_eq!(at as usize % block.layout.align(), 0);
                }
                Step::Free { which } if !blocks.is_empty() => {
                    let block = blocks.swap_remove(which % blocks.len());
                    prop_assert!(block.intact(block.layout.size()));
                    // SAFETY: the block is of that layout and no longer used.
                    unsafe { state.release(block.at, block.layout) };
                    continue;
                }
                _ => continue,
            }
            // A resized block is where `swap_remove` would not look; mark them all anew.
            blocks.iter().for_each(Block::fill);
            let mut ranges: Vec<_> = blocks.iter().map(Block::range).collect();
            ranges.sort_unstable();
            prop_assert!(ranges.windows(2).all(|two| two[0].1 <= two[1].0), "two blocks overlap");
            prop_assert!(ranges.iter().all(|range| range.0 >= start as usize && range.1 <= end as usize));
        }
    }
}

#[test]
fn an_absurd_size_is_refused() {
    let mut room = [Page([0; PAGE]); 4];
    let start: *mut u8 = room.as_mut_ptr().cast();
    // SAFETY: one past the end of the room.
    let end = unsafe { start.add(16 * 1024) };
    let mut state = State { start, end, next: start, touched: start, ..State::NONE };
    for size in [16 * 1024 + 1, 1 << 30, isize::MAX as usize - 4096] {
        let layout = Layout::from_size_align(size, 16).unwrap();
        // SAFETY: this thread alone uses the state.
        assert!(unsafe { state.allocate(layout) }.is_null());
    }
    let layout = Layout::from_size_align(16 * 1024, 16).unwrap();
    // SAFETY: as above.
    assert!(!unsafe { state.allocate(layout) }.is_null());
}

/// Clearing reaches what it is given and no more, and a block keeps its bytes through every move. (Nobody may read here what
/// was given back; tests/whole/phrases looks at it from outside.)
#[test]
fn clearing_touches_nothing_that_is_still_in_use() {
    let mut block = [7u8; 100];
    // SAFETY: it is ours.
    unsafe { clear(block[10..].as_mut_ptr(), 80) };
    assert!(block[10..90].iter().all(|byte| *byte == 0) && block[..10] == [7; 10] && block[90..] == [7; 10]);
    for (size, wanted) in [(100, 40), (40, 4_000), (300_000, 10), (10, 300_000), (100, 100)] {
        let layout = Layout::from_size_align(size, 1).unwrap();
        // SAFETY: a block of that layout, which is given back by its new one.
        unsafe {
            let block = Arena.alloc(layout);
            block.write_bytes(9, size);
            let moved = Arena.realloc(block, layout, wanted);
            let kept = std::slice::from_raw_parts(moved, size.min(wanted));
            assert!(kept.iter().all(|byte| *byte == 9), "{size} to {wanted}");
            Arena.dealloc(moved, Layout::from_size_align(wanted, 1).unwrap());
        }
    }
}
