//! Coarse groups of slots, on which PSI, Jensen-Shannon and total variation are computed.
//!
//! Fine bins are too many for these: their expectation without drift grows with the number of groups, and windows keep
//! a counter per group. The usual ten equal-mass groups hide what matters about atoms, so an atom with at least 5 % of
//! the mass stands alone, and takes in nothing: were the values beside it in its group, a flag that was always 0 could
//! become 1 unnoticed. What no neighbour can take is in the group `rare`.
//!
//! Groups are numbered `ordinary 0 … G-1, rare, missing, infinite[, unseen]`; some of the last four are usually empty.
//! Shares are of the values within bins, compared in integers.
//!
//! Invariant: every slot has a group, an ordinary group has at least 0.5 % of the mass, and there are at most 20.

use crate::sketch::Slots;
use std::borrow::Cow;

/// A column with at most this many bins in use gets a group for each.
const FEW: usize = 20;
/// A group is full when it has one part in so many of the mass: 10 %.
const FULL: u64 = 10;
/// An atom stands alone, and a group of several bins stands at all, from one part in so many: 5 %.
const STANDING: u64 = 20;
/// A bin with less than one part in so many gets no group of its own: 0.5 %.
const SMALL: u64 = 200;

/// Which coarse group each slot of a column belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The group of each slot, in slot order.
    pub of_slot: Vec<u8>,
    /// How many groups there are.
    pub count: usize,
}

/// The name of a group among `count`, of values with or without an order: `0`, `1` and so on for ordinary ones, then
/// `rare`, `missing`, `infinite` and, where there is no order, `unseen`.
#[must_use]
pub fn group_label(group: usize, count: usize, categorical: bool) -> Cow<'static, str> {
    const NAMES: [&str; 4] = ["rare", "missing", "infinite", "unseen"];
    let names = &NAMES[..if categorical { 4 } else { 3 }];
    let ordinary = count.saturating_sub(names.len());
    match group.checked_sub(ordinary).and_then(|special| names.get(special)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(group.to_string()),
    }
}

/// Groups of bins whose values have an order, from their reference counts. `below` and `above` belong to the outermost
/// groups.
#[must_use]
pub fn ordered_groups(counts: &[u64], is_atom: impl Fn(usize) -> bool) -> Groups {
    let total = total(counts);
    let mut draft = Draft { of_interval: vec![None; counts.len() + 2], alone: Vec::new() };
    let stands_alone = |bin: usize| is_atom(bin) && reaches(counts[bin], STANDING, total);
    if counts.iter().filter(|&&count| count > 0).count() <= FEW {
        for bin in (0..counts.len()).filter(|&bin| reaches(counts[bin], SMALL, total)) {
            draft.add_group(bin..bin + 1, stands_alone(bin));
        }
    } else {
        draft.fill_groups(counts, total, stands_alone);
    }
    draft.finish(counts.len())
}

/// Groups of categories, from their reference counts. Bins of a categorical column that are no `is_category` (the gaps
/// between its codes) count nothing and are put with the unseen.
#[must_use]
pub fn unordered_groups(counts: &[u64], is_category: impl Fn(usize) -> bool) -> Groups {
    let total = total(counts);
    let slots = Slots::new(counts.len(), true);
    let mut common: Vec<usize> = (0..counts.len()).filter(|&bin| reaches(counts[bin], SMALL, total)).collect();
    let few = common.len() <= FEW;
    if !few {
        common.sort_by_key(|&bin| std::cmp::Reverse(counts[bin]));
    }
    let mut group_of = vec![None; counts.len()];
    let (mut groups, mut open, mut mass) = (0_u8, Vec::new(), 0);
    for bin in common {
        open.push(bin);
        mass += counts[bin];
        if few || reaches(mass, STANDING, total) {
            open.drain(..).for_each(|bin| group_of[bin] = Some(groups));
            groups += 1;
            mass = 0;
        }
    }
    let special = Special { first: groups };
    let mut of_slot = vec![special.unseen(); slots.count()];
    for (bin, group) in group_of.into_iter().enumerate().filter(|&(bin, _)| is_category(bin)) {
        of_slot[slots.bin(bin)] = group.unwrap_or(special.rare());
    }
    special.assign(&mut of_slot, slots);
    Groups { of_slot, count: usize::from(special.unseen()) + 1 }
}

/// Groups of the intervals `below, bin 0 … bin B-1, above`, while they are being made.
struct Draft {
    of_interval: Vec<Option<u8>>,
    /// For each group, whether it is an atom that stands alone.
    alone: Vec<bool>,
}

/// The numbers of the groups after the ordinary ones.
#[derive(Clone, Copy)]
struct Special {
    first: u8,
}

impl Draft {
    fn add_group(&mut self, bins: std::ops::Range<usize>, alone: bool) {
        let group = self.alone.len() as u8;
        self.alone.push(alone);
        self.of_interval[bins.start + 1..bins.end + 1].fill(Some(group));
    }

    /// Walks the bins in order and closes a group when it is full.
    fn fill_groups(&mut self, counts: &[u64], total: u64, stands_alone: impl Fn(usize) -> bool) {
        let (mut start, mut mass) = (0, 0);
        for (bin, &count) in counts.iter().enumerate() {
            let alone = stands_alone(bin);
            if alone {
                if reaches(mass, STANDING, total) {
                    self.add_group(start..bin, false);
                }
                self.add_group(bin..bin + 1, true);
            } else {
                mass += count;
                if reaches(mass, FULL, total) {
                    self.add_group(start..bin + 1, false);
                } else {
                    continue;
                }
            }
            (start, mass) = (bin + 1, 0);
        }
        if reaches(mass, STANDING, total) {
            self.add_group(start..counts.len(), false);
        }
    }

    /// Gives intervals without a group to the group below them, else above them, else to `rare`.
    fn finish(self, bins: usize) -> Groups {
        let special = Special { first: self.alone.len() as u8 };
        let may_join = |group: Option<u8>| group.filter(|&group| !self.alone[usize::from(group)]);
        let slots = Slots::new(bins, false);
        let mut of_slot = vec![special.rare(); slots.count()];
        let mut below = None;
        for interval in slots.finite() {
            of_slot[interval] = match self.of_interval[interval] {
                Some(group) => {
                    below = Some(group);
                    group
                }
                None => {
                    let above = self.of_interval[interval..].iter().flatten().next().copied();
                    may_join(below).or(may_join(above)).unwrap_or(special.rare())
                }
            };
        }
        special.assign(&mut of_slot, slots);
        Groups { of_slot, count: usize::from(special.unseen()) }
    }
}

impl Special {
    fn rare(self) -> u8 {
        self.first
    }

    fn missing(self) -> u8 {
        self.first + 1
    }

    fn infinite(self) -> u8 {
        self.first + 2
    }

    fn unseen(self) -> u8 {
        self.first + 3
    }

    fn assign(self, of_slot: &mut [u8], slots: Slots) {
        of_slot[slots.missing()] = self.missing();
        of_slot[slots.negative_infinite()] = self.infinite();
        of_slot[slots.positive_infinite()] = self.infinite();
        if let Some(unseen) = slots.unseen() {
            of_slot[unseen] = self.unseen();
        }
    }
}

fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |total, &count| total.saturating_add(count))
}

/// Whether `count` is positive and at least one part in `parts` of `total`.
fn reaches(count: u64, parts: u64, total: u64) -> bool {
    count > 0 && u128::from(count) * u128::from(parts) >= u128::from(total)
}
