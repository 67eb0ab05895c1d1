//! The allocator of the binaries: the system's, until a worker enters its one arena.
//!
//! A worker may not ask the kernel for memory while it reads a stranger's letter, and its memory has one bound. So
//! it maps one region before its list is in force, and from then on every allocation comes from there: small blocks
//! by size class, large ones first fit, the last block grows in place. What was allocated before is left where it
//! is. Workers have one thread.
//!
//! Before that, and in everybody else, what is given back is cleared: a role that is broken into must not find letters,
//! passwords and words that it has long let go of. A worker is gone with its letter.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// The global allocator of every program that calls [`crate::zygote::run`].
#[derive(Debug, Default, Clone, Copy)]
pub struct Arena;

/// Blocks are multiples of this and aligned to it.
const GRAIN: usize = 16;
/// Largest block with a class of its own for every multiple of [`GRAIN`].
const SMALL: usize = 1024;
/// Largest block whose size is rounded to a power of two.
const MEDIUM: usize = 64 * 1024;
/// Larger blocks are multiples of this.
const PAGE: usize = 4096;
/// Free large blocks looked at before new memory is taken.
const MOST_STEPS: usize = 64;

const SMALL_CLASSES: usize = SMALL / GRAIN;
/// Bytes brought in beforehand: what a letter of 20 KB takes (measured).
const AHEAD: usize = 80 * 1024;
/// 2 KiB to 64 KiB.
const MEDIUM_CLASSES: usize = 6;

static ENTERED: AtomicBool = AtomicBool::new(false);
static REGION: Region = Region(UnsafeCell::new(State::NONE));

struct Region(UnsafeCell<State>);

// SAFETY: the state is used only after `enter`, which is called in processes that have and make no second thread.
unsafe impl Sync for Region {}

/// A free block; lies in the block itself.
struct Free {
    next: *mut Free,
    size: usize,
}

struct State {
    start: *mut u8,
    end: *mut u8,
    /// First byte never handed out, or given back from the end.
    next: *mut u8,
    /// Beyond this, every byte is as the kernel gave it: zero.
    touched: *mut u8,
    small: [*mut Free; SMALL_CLASSES],
    medium: [*mut Free; MEDIUM_CLASSES],
    large: *mut Free,
}

/// Maps the one region and takes all memory from it from now on.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// The process has one thread and will never have another.
pub(crate) unsafe fn enter(bytes: usize) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let start = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start: *mut u8 = start.cast();
    // SAFETY: one thread, by the caller's promise; the end is one past the mapping.
    unsafe { *REGION.0.get() = State { start, end: start.add(bytes), next: start, touched: start, ..State::NONE } };
    ENTERED.store(true, Ordering::Relaxed);
    // The pages that most letters need, in one call rather than in one fault each. Kernels before 5.14 cannot.
    // SAFETY: within the mapping, which is as the kernel gave it.
    unsafe { libc::madvise(start.cast(), bytes.min(AHEAD), libc::MADV_POPULATE_WRITE) };
    Ok(())
}

impl State {
    const NONE: Self = Self {
        start: null_mut(),
        end: null_mut(),
        next: null_mut(),
        touched: null_mut(),
        small: [null_mut(); SMALL_CLASSES],
        medium: [null_mut(); MEDIUM_CLASSES],
        large: null_mut(),
    };

    fn holds(&self, block: *mut u8) -> bool {
        block >= self.start && block < self.end
    }

    /// The list of free blocks of a rounded size; `None` for large ones.
    fn list(&mut self, size: usize) -> Option<&mut *mut Free> {
        match size {
            ..=SMALL => self.small.get_mut(size / GRAIN - 1),
            size if size <= MEDIUM => self.medium.get_mut(size.trailing_zeros() as usize - 11),
            _ => None,
        }
    }

    /// # Safety
    /// One thread.
    unsafe fn allocate(&mut self, layout: Layout) -> *mut u8 {
        let size = rounded(layout.size());
        if layout.align() <= GRAIN {
            // SAFETY: lists hold free blocks of this region only.
            let reused = unsafe { self.reuse(size) };
            if !reused.is_null() {
                return reused;
            }
        }
        let aligned = self.next.align_offset(layout.align());
        let room = self.end as usize - self.next as usize;
        if size > room || aligned > room - size {
            return null_mut();
        }
        // SAFETY: within the region, as just checked.
        unsafe {
            let block = self.next.add(aligned);
            self.next = block.add(size);
            block
        }
    }

    /// # Safety
    /// One thread.
    unsafe fn reuse(&mut self, size: usize) -> *mut u8 {
        let Some(list) = self.list(size) else {
            // SAFETY: as ours.
            return unsafe { self.first_fit(size) };
        };
        let block = *list;
        if !block.is_null() {
            // SAFETY: a block on a list is free and begins with its `Free`.
            *list = unsafe { (*block).next };
        }
        block.cast()
    }

    /// # Safety
    /// One thread.
    unsafe fn first_fit(&mut self, size: usize) -> *mut u8 {
        let mut place: *mut *mut Free = &raw mut self.large;
        for _ in 0..MOST_STEPS {
            // SAFETY: `place` is the head or the `next` of a free block; each free block begins with its `Free`.
            unsafe {
                let block = *place;
                if block.is_null() {
                    break;
                }
                let rest = match (*block).size.checked_sub(size) {
                    None => {
                        place = &raw mut (*block).next;
                        continue;
                    }
                    Some(rest) => rest,
                };
                if rest > MEDIUM {
                    // Both are multiples of a page and the rest stays large.
                    let remainder: *mut Free = block.byte_add(size);
                    *remainder = Free { next: (*block).next, size: rest };
                    *place = remainder;
                } else {
                    *place = (*block).next;
                }
                return block.cast();
            }
        }
        null_mut()
    }

    /// # Safety
    /// One thread; `block` is of this layout and no longer used.
    unsafe fn release(&mut self, block: *mut u8, layout: Layout) {
        if !self.holds(block) {
            return;
        }
        let size = rounded(layout.size());
        // SAFETY: a block of this region; it is free now, large enough for its `Free`, and aligned to GRAIN.
        unsafe {
            if block.add(size) == self.next {
                self.touched = self.touched.max(self.next);
                self.next = block;
                return;
            }
            let free: *mut Free = block.cast();
            let list = match self.list(size) {
                Some(list) => list,
                None => &mut self.large,
            };
            *free = Free { next: *list, size };
            *list = free;
        }
    }

    /// # Safety
    /// One thread; `block` is of this layout.
    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, wanted: usize) -> *mut u8 {
        let (old, new) = (rounded(layout.size()), rounded(wanted));
        if self.holds(block) {
            if old == new {
                return block;
            }
            // SAFETY: stays within the region, as checked.
            unsafe {
                if block.add(old) == self.next && new <= self.end as usize - block as usize {
                    self.touched = self.touched.max(self.next);
                    self.next = block.add(new);
                    return block;
                }
            }
        }
        // SAFETY: the new block does not overlap the old, and both have room for the shorter of the two.
        unsafe {
            let moved = self.allocate(Layout::from_size_align_unchecked(wanted, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(block, moved, layout.size().min(wanted));
                self.release(block, layout);
            }
            moved
        }
    }
}

/// What a request of that size really takes: the same for the request and its return.
const fn rounded(size: usize) -> usize {
    match size {
        0 => GRAIN,
        size if size <= SMALL => (size + GRAIN - 1) & !(GRAIN - 1),
        size if size <= MEDIUM => size.next_power_of_two(),
        // A size beyond isize::MAX is never asked for: Layout forbids it.
        _ => (size + PAGE - 1) & !(PAGE - 1),
    }
}

/// Overwrites, in a way that no compiler leaves out because nobody reads it.
///
/// # Safety
/// So many bytes from there are ours, and nobody else uses them.
unsafe fn clear(from: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::explicit_bzero(from.cast(), bytes) };
}

/// What `realloc` does, but that nothing stays where a block was or was longer.
///
/// # Safety
/// As [`GlobalAlloc::realloc`].
unsafe fn move_on(block: *mut u8, layout: Layout, wanted: usize) -> *mut u8 {
    let kept = layout.size().min(wanted);
    // SAFETY: the caller's promises; a new block does not overlap the old, and both have room for what is kept.
    unsafe {
        let moved = System.alloc(Layout::from_size_align_unchecked(wanted, layout.align()));
        if !moved.is_null() {
            std::ptr::copy_nonoverlapping(block, moved, kept);
            clear(block, layout.size());
            System.dealloc(block, layout);
        }
        moved
    }
}

// SAFETY: before `enter` it is the system's allocator; after it, blocks are disjoint parts of one mapping, at least as
// large as asked and aligned as asked.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !ENTERED.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are passed on.
            return unsafe { System.alloc(layout) };
        }
        // SAFETY: entered, so there is one thread.
        unsafe { (*REGION.0.get()).allocate(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !ENTERED.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are passed on.
            return unsafe {
                clear(block, layout.size());
                System.dealloc(block, layout)
            };
        }
        // SAFETY: as above.
        unsafe { (*REGION.0.get()).release(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !ENTERED.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are passed on.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as above; what lies beyond `touched` was never written.
        unsafe {
            let state = &mut *REGION.0.get();
            let fresh = state.touched.max(state.next);
            let block = state.allocate(layout);
            if !block.is_null() && block < fresh {
                std::ptr::write_bytes(block, 0, layout.size());
            }
            block
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, wanted: usize) -> *mut u8 {
        if !ENTERED.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are passed on.
            return unsafe { move_on(block, layout, wanted) };
        }
        // SAFETY: as above.
        unsafe { (*REGION.0.get()).resize(block, layout, wanted) }
    }
}

#[cfg(test)]
mod tests;
