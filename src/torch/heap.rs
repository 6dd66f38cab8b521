//! A heap for the bytes of large tensors: one stretch of addresses, best fit, free neighbours joined.
//!
//! In malloc's heap small things that live long (a product's plan, a moment) lie between tensors that live for a step,
//! so that what a step needed was 10 to 25 % more than its tensors hold. Kept apart it is 1 to 4 %, and the same each
//! time, so that `plan` can act a step out on the same arithmetic.

use crate::torch::shim;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

/// Smaller blocks are malloc's.
pub const LEAST: u64 = 64 << 10;
/// Of x86-64, and of aarch64 with small pages of 4 KiB.
const HUGE_PAGE: u64 = 2 << 20;
/// Blocks begin at multiples of a cache line, as libtorch wants them.
const ALIGNMENT: u64 = 64;

/// Which parts of a stretch of addresses are taken: arithmetic alone.
#[derive(Debug, Default)]
pub struct Layout {
    /// Start to length.
    taken: BTreeMap<u64, u64>,
    /// Start to length of what is free between taken blocks.
    free: BTreeMap<u64, u64>,
    /// The same by length.
    free_by_length: BTreeSet<(u64, u64)>,
    /// Behind the last taken block.
    end: u64,
    held: u64,
    most_held: u64,
    farthest: u64,
}

impl Layout {
    /// The start of a block of this many bytes: in the smallest gap that it fits, else at the end.
    pub fn take(&mut self, bytes: u64) -> u64 {
        let length = bytes.max(1).next_multiple_of(ALIGNMENT);
        let gap = self.free_by_length.range((length, 0)..).next().copied();
        let start = match gap {
            Some((gap, start)) => {
                self.free_by_length.remove(&(gap, start));
                self.free.remove(&start);
                if gap > length {
                    self.put_free(start + length, gap - length);
                }
                start
            }
            None => self.end,
        };
        self.taken.insert(start, length);
        self.end = self.end.max(start + length);
        self.held += length;
        self.most_held = self.most_held.max(self.held);
        self.farthest = self.farthest.max(self.end);
        start
    }

    /// Frees the block that begins here.
    pub fn give(&mut self, start: u64) {
        let Some(length) = self.taken.remove(&start) else { return };
        self.held -= length;
        let (mut start, mut end) = (start, start + length);
        if let Some((&before, &gap)) = self.free.range(..start).next_back()
            && before + gap == start
        {
            self.remove_free(before, gap);
            start = before;
        }
        if let Some(&gap) = self.free.get(&end) {
            self.remove_free(end, gap);
            end += gap;
        }
        if end == self.end {
            self.end = start;
        } else {
            self.put_free(start, end - start);
        }
    }

    /// Where the last taken block ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of taken blocks.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The most that was ever taken at once.
    pub fn most_held(&self) -> u64 {
        self.most_held
    }

    /// Where the farthest block ended that ever was: the memory this takes, since freed memory is kept.
    pub fn farthest(&self) -> u64 {
        self.farthest
    }

    /// Start and length of every gap, and of what lies behind the end.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let behind = (self.end, self.farthest - self.end);
        self.free.iter().map(|(start, length)| (*start, *length)).chain([behind]).collect()
    }

    fn put_free(&mut self, start: u64, length: u64) {
        self.free.insert(start, length);
        self.free_by_length.insert((length, start));
    }

    fn remove_free(&mut self, start: u64, length: u64) {
        self.free.remove(&start);
        self.free_by_length.remove(&(length, start));
    }
}

/// The layout over real memory. It is never dropped: libtorch holds it to the end of the process.
pub struct Heap {
    base: *mut u8,
    capacity: u64,
    layout: Mutex<Layout>,
}

// SAFETY: the layout is behind a lock, and `base` is only ever added to.
unsafe impl Sync for Heap {}

impl Heap {
    /// Makes libtorch take the memory of large CPU tensors from a heap of their own, where addresses for it are to be
    /// had; else everything stays as it was. Call once, before the first tensor.
    pub fn install(capacity: u64) {
        let Some(base) = reserve(capacity) else { return };
        let heap = Box::leak(Box::new(Heap { base, capacity, layout: Mutex::default() }));
        // SAFETY: the heap lives for ever, and the functions take it as they get it here.
        unsafe { shim::ltune_use_heap((&raw const *heap).cast(), take, give) }
    }

    /// The heap that libtorch uses, if it was installed.
    pub fn installed() -> Option<&'static Heap> {
        // SAFETY: the shim gives back null, or the heap that `install` gave it, which lives for ever.
        unsafe { shim::ltune_heap().cast::<Heap>().as_ref() }
    }

    /// Bytes of large tensors now, and the most there ever were at once.
    pub fn held(&self) -> (u64, u64) {
        let layout = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        (layout.held(), layout.most_held())
    }

    /// Where the farthest tensor ended since `forget`.
    #[cfg(test)]
    pub fn farthest(&self) -> u64 {
        self.layout.lock().unwrap_or_else(PoisonError::into_inner).farthest()
    }

    /// Counts the peak anew from here.
    #[cfg(test)]
    pub fn forget(&self) {
        let mut layout = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        layout.most_held = layout.held;
        layout.farthest = layout.end;
    }

    /// Gives memory between and behind the tensors back to the system.
    pub fn trim(&self) {
        const PAGE: u64 = 4096;
        let layout = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        for (start, length) in layout.gaps() {
            let (from, to) = (start.next_multiple_of(PAGE), (start + length) / PAGE * PAGE);
            if from < to {
                // SAFETY: whole pages inside of a gap, which nobody reads or writes while the lock is held.
                unsafe {
                    libc::madvise(
                        self.base.add(from as usize).cast(),
                        (to - from) as usize,
                        libc::MADV_DONTNEED,
                    );
                }
            }
        }
    }
}

/// Addresses without memory behind them yet. They begin at a huge page and ask for such ones: the memory of a first step
/// then comes in 512 times fewer faults.
fn reserve(capacity: u64) -> Option<*mut u8> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    let length = (capacity + HUGE_PAGE) as usize;
    // SAFETY: a fresh mapping at an address of the system's choice touches nothing that is there.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return None;
    }
    let before = (mapped as u64).next_multiple_of(HUGE_PAGE) - mapped as u64;
    // SAFETY: at most a huge page into a mapping that is one longer than the capacity.
    let base = unsafe { mapped.cast::<u8>().add(before as usize) };
    #[cfg(target_os = "linux")]
    // SAFETY: advice on our own mapping; where it cannot be followed, nothing changes.
    unsafe {
        libc::madvise(base.cast(), capacity as usize, libc::MADV_HUGEPAGE);
    }
    Some(base)
}

/// A block for libtorch; null when it is small or the heap is full, and then malloc serves it.
unsafe extern "C" fn take(heap: *const c_void, bytes: usize) -> *mut c_void {
    // SAFETY: libtorch gives back the heap of `install`.
    let heap = unsafe { &*heap.cast::<Heap>() };
    let bytes = bytes as u64;
    if bytes < LEAST {
        return std::ptr::null_mut();
    }
    let mut layout = heap.layout.lock().unwrap_or_else(PoisonError::into_inner);
    if layout.end.saturating_add(bytes) > heap.capacity - ALIGNMENT {
        return std::ptr::null_mut();
    }
    let start = layout.take(bytes);
    // SAFETY: the block ends within the capacity.
    unsafe { heap.base.add(start as usize).cast() }
}

/// Takes a block back; 0 when it is not of this heap.
unsafe extern "C" fn give(heap: *const c_void, block: *mut c_void) -> i32 {
    // SAFETY: libtorch gives back the heap of `install`.
    let heap = unsafe { &*heap.cast::<Heap>() };
    let start = (block as u64).wrapping_sub(heap.base as u64);
    if start >= heap.capacity {
        return 0;
    }
    heap.layout.lock().unwrap_or_else(PoisonError::into_inner).give(start);
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_goes_into_the_smallest_gap_that_it_fits() {
        let mut layout = Layout::default();
        let blocks: Vec<u64> = [640, 64, 256, 64].into_iter().map(|bytes| layout.take(bytes)).collect();
        layout.give(blocks[0]);
        layout.give(blocks[2]);
        assert_eq!(layout.take(200), blocks[2]);
        assert_eq!(layout.take(600), blocks[0]);
        assert_eq!(layout.take(1), 1024, "a block begins at a cache line behind the others");
    }

    #[test]
    fn neighbours_join_and_the_last_ones_move_the_end_back() {
        let mut layout = Layout::default();
        let blocks: Vec<u64> = (0..4).map(|_| layout.take(128)).collect();
        [1, 3, 2].into_iter().for_each(|index| layout.give(blocks[index]));
        assert_eq!((layout.end, layout.held(), layout.most_held(), layout.farthest()), (128, 128, 512, 512));
        assert!(layout.free.is_empty());
        assert_eq!(layout.gaps(), [(128, 384)]);
    }

    proptest! {
        #[test]
        fn blocks_never_overlap_and_all_of_them_can_be_given_back(
            requests in prop::collection::vec((1_u64..2000, any::<prop::sample::Index>(), any::<bool>()), 1..200)
        ) {
            let mut layout = Layout::default();
            let mut live: Vec<(u64, u64)> = vec![];
            for (bytes, which, frees) in requests {
                if frees && !live.is_empty() {
                    let (start, _) = live.swap_remove(which.index(live.len()));
                    layout.give(start);
                } else {
                    let start = layout.take(bytes);
                    prop_assert!(live.iter().all(|(other, length)| start + bytes <= *other || other + length <= start));
                    live.push((start, bytes));
                }
                prop_assert!(layout.held() <= layout.end && layout.most_held() <= layout.farthest());
            }
            live.into_iter().for_each(|(start, _)| layout.give(start));
            prop_assert_eq!((layout.end, layout.held(), layout.free.len()), (0, 0, 0));
        }
    }
}
