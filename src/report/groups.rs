//! The coarse groups of a column, named without a value of the training data.
//!
//! Invariant: a label is made of ranks, positions in a list and fixed words; of categories' names only when they are
//! asked for.

use super::parts::{Group, GroupKind};
use crate::detect::group_counts;
use crate::profile::{Column, Kind};
use crate::sketch::Reference;

/// Names of categories are cut after this many characters, and lists of them after as many.
const NAME_CHARACTERS: usize = 40;
const NAMES: usize = 3;

/// What is in the groups of `column`, whose reference is `reference`, and how many values of `live`, counted by group.
/// Groups that are empty on both sides are left out unless they are ordinary ones.
pub(super) fn groups(column: &Column, reference: &Reference, live: &[u64], names: bool) -> Vec<Group> {
    let expected = group_counts(&reference.counts, &reference.groups, reference.group_count);
    let mut labels = Labels::new(column, reference, names);
    (0..reference.group_count)
        .map(|group| {
            let (label, kind) = labels.next(group);
            let live = live.get(group).copied().unwrap_or(0);
            Group { label, kind, reference: expected[group], live }
        })
        .filter(|group| is_ordinary(group.kind) || group.reference > 0 || group.live > 0)
        .collect()
}

/// Whether a group is of values that the reference has, as opposed to those that are missing, rare or new.
pub(super) fn is_ordinary(kind: GroupKind) -> bool {
    matches!(kind, GroupKind::Range | GroupKind::Value | GroupKind::Category)
}

/// Hands out the labels, group by group.
struct Labels<'a> {
    column: &'a Column,
    names: bool,
    /// The bins of each group.
    bins: Vec<Vec<usize>>,
    /// The group of missing values; `rare` is before it, the rest behind.
    missing: usize,
    /// For each bin, the values of the reference before it and in it.
    ranks: Vec<(u64, u64)>,
    total: u64,
    values: usize,
    categories: usize,
}

impl<'a> Labels<'a> {
    fn new(column: &'a Column, reference: &Reference, names: bool) -> Self {
        let slots = column.slots();
        let group_of = |slot: usize| reference.groups.get(slot).map_or(0, |&group| usize::from(group));
        let mut bins = vec![Vec::new(); reference.group_count];
        let (mut ranks, mut total) = (Vec::new(), 0_u64);
        for bin in 0..slots.bins() {
            if let Some(bins) = bins.get_mut(group_of(slots.bin(bin))) {
                bins.push(bin);
            }
            let count = reference.counts.get(slots.bin(bin)).copied().unwrap_or(0);
            ranks.push((total, count));
            total = total.saturating_add(count);
        }
        let missing = group_of(slots.missing());
        Self { column, names, bins, missing, ranks, total, values: 0, categories: 0 }
    }

    /// The label of a group; groups are asked for in their order.
    fn next(&mut self, group: usize) -> (String, GroupKind) {
        let special = |label: &str, kind| (label.to_owned(), kind);
        match group {
            _ if group + 1 == self.missing => special("rare values", GroupKind::Rare),
            _ if group == self.missing => special("missing", GroupKind::Missing),
            _ if group == self.missing + 1 => special("infinite", GroupKind::Infinite),
            _ if group > self.missing => special("unseen category", GroupKind::Unseen),
            _ if self.column.kind.is_ordered() => self.ordered(group),
            _ => self.category(group),
        }
    }

    fn ordered(&mut self, group: usize) -> (String, GroupKind) {
        let bins = &self.bins[group];
        // A bin without a value of the reference is beside the one number that the group was made for.
        let mut used = bins.iter().filter(|&&bin| self.ranks[bin].1 > 0);
        if let (Some(&bin), None) = (used.next(), used.next())
            && self.column.is_atom(bin)
        {
            self.values += 1;
            return (format!("value {}", self.values), GroupKind::Value);
        }
        let percent = |rows: u64| (rows as f64 / self.total.max(1) as f64 * 100.0).round();
        let from = bins.first().map_or(0, |&bin| self.ranks[bin].0);
        let to = bins.last().map_or(0, |&bin| self.ranks[bin].0.saturating_add(self.ranks[bin].1));
        (format!("{}–{} %", percent(from), percent(to)), GroupKind::Range)
    }

    fn category(&mut self, group: usize) -> (String, GroupKind) {
        let bins = &self.bins[group];
        let first = self.categories + 1;
        self.categories += bins.len();
        let label = if self.names {
            let more = if bins.len() > NAMES { ", …" } else { "" };
            bins.iter().take(NAMES).map(|&bin| self.name(bin)).collect::<Vec<_>>().join(", ") + more
        } else if bins.len() == 1 {
            format!("category {first}")
        } else {
            format!("categories {first}–{}", self.categories)
        };
        (label, GroupKind::Category)
    }

    fn name(&self, bin: usize) -> String {
        let name = match (&self.column.categories, self.column.kind) {
            (Some(categories), Kind::String) => categories.get(bin).map(|category| category.value.clone()),
            _ => self.column.edges.get(bin).map(f64::to_string),
        };
        let name = name.unwrap_or_default();
        if name.chars().count() <= NAME_CHARACTERS {
            return name;
        }
        name.chars().take(NAME_CHARACTERS - 1).chain(std::iter::once('…')).collect()
    }
}
