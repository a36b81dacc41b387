//! A set of task indices, kept as ranges: an array of a million waits as one.

use std::collections::VecDeque;
use std::ops::Range;

/// A set of indices, as ascending ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(VecDeque<Range<u32>>);

impl Ranges {
    /// The indices of `range`.
    #[must_use]
    pub fn new(range: Range<u32>) -> Self {
        let mut ranges = Ranges::default();
        ranges.push(range);
        ranges
    }

    /// Adds a range that lies wholly behind all others, as a store returns them.
    pub fn push(&mut self, range: Range<u32>) {
        match self.0.back_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            Some(_) | None => self.0.push_back(range),
        }
    }

    /// Takes the lowest index out.
    pub fn pop(&mut self) -> Option<u32> {
        let first = self.0.front_mut()?;
        let index = first.start;
        first.start += 1;
        if first.start == first.end {
            self.0.pop_front();
        }
        Some(index)
    }

    /// Takes `index` out; whether it was there.
    pub fn remove(&mut self, index: u32) -> bool {
        let Some(at) = self.find(index) else { return false };
        let old = self.0[at].clone();
        let halves = [old.start..index, index + 1..old.end];
        self.0.remove(at);
        for half in halves.into_iter().rev().filter(|half| !half.is_empty()) {
            self.0.insert(at, half);
        }
        true
    }

    /// Whether `index` is in the set.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        self.find(index).is_some()
    }

    /// How many indices there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.0.iter().cloned()
    }

    /// Empties the set and returns what was in it.
    pub fn take(&mut self) -> Ranges {
        std::mem::take(self)
    }

    fn find(&self, index: u32) -> Option<usize> {
        let after = self.0.partition_point(|range| range.start <= index);
        let at = after.checked_sub(1)?;
        self.0[at].contains(&index).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn is_a_set(len in 0u32..40, taken in prop::collection::vec(0u32..50, 0..40)) {
            let mut ranges = Ranges::new(0..len);
            let mut model: BTreeSet<u32> = (0..len).collect();
            for index in taken {
                match index % 3 {
                    0 => prop_assert_eq!(ranges.pop(), model.pop_first()),
                    _ => prop_assert_eq!(ranges.remove(index), model.remove(&index)),
                }
                prop_assert_eq!(ranges.len() as usize, model.len());
                prop_assert_eq!(ranges.contains(index), model.contains(&index));
                prop_assert!(ranges.iter().all(|range| !range.is_empty()));
                prop_assert!(ranges.iter().flatten().eq(model.iter().copied()));
            }
        }
    }
}
