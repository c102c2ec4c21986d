//! The pictures of a column, as SVG.
//!
//! Paths are in whole pixels and relative where that is shorter: of the 2,000 bytes that a column may take, a picture
//! takes a quarter. Colours come from the page's style, so that they follow light and dark.
//!
//! Invariant: nothing in a picture is text of a user.

use super::groups::is_ordinary;
use super::parts::{ColumnPart, Group, GroupKind};
use super::text::percent;
use crate::judge::POINTS;
use std::fmt::Write;

/// Width of a distribution, and where its bars stand.
const WIDTH: usize = 300;
const BASE: usize = 60;
/// Between ordinary groups and the rest.
const GAP: usize = 8;

/// Drift over time: the base, and pixels per factor of ten.
const FLOOR: f64 = 60.0;
const DECADE: f64 = 20.0;
/// The value on the base; with three factors of ten above it everything from a trace to a rout is seen.
const LOWEST: f64 = 0.003;

/// Reference and live shares by group; empty where there is no reference.
pub(super) fn distribution(column: &ColumnPart) -> String {
    let groups = &column.groups;
    if groups.is_empty() {
        return String::new();
    }
    let shares = shares(groups);
    let highest = shares.iter().fold(1e-9_f64, |highest, &(reference, live)| highest.max(reference).max(live));
    let height = |share: f64| scaled(share / highest * (BASE - 6) as f64);
    let pitch = ((WIDTH - GAP) / groups.len()).min(60);
    let width = (pitch * 3 / 5).max(2);
    let (mut expected, mut found, mut labels) = (String::new(), String::new(), String::new());
    let mut left = 0;
    for (index, (group, (reference, live))) in groups.iter().zip(shares).enumerate() {
        let is_break = index > 0 && is_ordinary(groups[index - 1].kind) && !is_ordinary(group.kind);
        left += if is_break { GAP } else { 0 };
        let _ = write!(expected, "M{left} {BASE}v-{}h{}V{BASE}", height(reference), pitch - 1);
        if group.live > 0 {
            // A bar that is there is seen.
            let _ = write!(found, "M{} {BASE}v-{}h{width}V{BASE}", left + (pitch - width) / 2, height(live).max(1));
        }
        label(&mut labels, group.kind, left + pitch / 2);
        left += pitch;
    }
    let ordinary = groups.iter().filter(|group| is_ordinary(group.kind)).count();
    ends(&mut labels, groups[0].kind, ordinary * pitch);
    format!(
        "<svg class=p viewBox=\"0 0 {WIDTH} 74\" role=img><title>Reference and live shares</title><desc>{}</desc>\
         <path class=r d=\"{expected}\"/><path class=l d=\"{found}\"/>{labels}</svg>",
        description(groups),
    )
}

/// PSI beyond chance over time; empty without points.
pub(super) fn over_time(column: &ColumnPart, span: &str) -> String {
    if column.drift.iter().all(Option::is_none) {
        return String::new();
    }
    let mut path = String::new();
    // The newest point is at the right, whatever their number.
    let first = POINTS.saturating_sub(column.drift.len());
    let mut run: Option<(usize, usize)> = None;
    let points = column.drift.iter().map(|value| value.map(elevation));
    for (index, point) in (first..).zip(points.chain(std::iter::once(None))) {
        run = match (run, point) {
            (None, Some(up)) => {
                let _ = write!(path, "M{} 60v-{up}", index * 2);
                Some((index, up))
            }
            (Some((start, before)), Some(up)) if up != before => {
                let _ = write!(path, "h{}v{}", (index - start) * 2, before as i64 - up as i64);
                Some((index, up))
            }
            (Some((start, _)), None) => {
                let _ = write!(path, "h{}V60", (index - start) * 2);
                None
            }
            (run, _) => run,
        };
    }
    let highest = column.drift.iter().flatten().fold(0.0_f64, |highest, &value| highest.max(value));
    format!(
        "<svg class=t viewBox=\"0 0 210 74\" role=img><title>Drift over time</title><desc>PSI beyond chance over the \
         last {span}, at most {}</desc><path class=g d=\"M0 29h192M0 9h192\"/><path class=l d=\"{path}\"/><path class=b \
         d=\"M0 60h192\"/><text x=195 y=12>1</text><text x=195 y=32>0.1</text><text x=0 y=72>{span} ago</text>\
         <text x=192 y=72 class=e>now</text></svg>",
        super::text::number(highest),
    )
}

/// Pixels above the base, on a logarithmic scale: 0.1 is 30 and 1 is 50.
fn elevation(value: f64) -> usize {
    scaled(((value / LOWEST).max(1.0).log10() * DECADE).min(FLOOR - 2.0)).max(1)
}

#[expect(clippy::cast_sign_loss, reason = "what is negative is zero")]
fn scaled(pixels: f64) -> usize {
    pixels.max(0.0).round() as usize
}

/// Shares of reference and live values in each group.
pub(super) fn shares(groups: &[Group]) -> Vec<(f64, f64)> {
    let total = |count: fn(&Group) -> u64| groups.iter().fold(0_u64, |sum, group| sum.saturating_add(count(group)));
    let (reference, live) = (total(|group| group.reference), total(|group| group.live));
    let share = |count: u64, total: u64| if total == 0 { 0.0 } else { count as f64 / total as f64 };
    groups.iter().map(|group| (share(group.reference, reference), share(group.live, live))).collect()
}

/// The group that differs most, in words.
fn description(groups: &[Group]) -> String {
    let shares = shares(groups);
    let all = groups.iter().zip(shares);
    let most = all.max_by(|(_, left), (_, right)| (left.0 - left.1).abs().total_cmp(&(right.0 - right.1).abs()));
    // A label may be a category's name, which is text of a user: the description says what it is instead.
    most.map_or_else(String::new, |(group, (reference, live))| {
        let place = groups.iter().position(|other| std::ptr::eq(other, group)).map_or(0, |place| place + 1);
        let (reference, live) = (percent(reference), percent(live));
        format!("Bar {place} of {} differs most: {reference} % in the reference, {live} % live", groups.len())
    })
}

/// The name of a group that is no ordinary one, under its bar.
fn label(labels: &mut String, kind: GroupKind, middle: usize) {
    let name = match kind {
        GroupKind::Rare => "rare",
        GroupKind::Missing => "null",
        GroupKind::Infinite => "∞",
        GroupKind::Unseen => "new",
        GroupKind::Range | GroupKind::Value | GroupKind::Category => return,
    };
    let _ = write!(labels, "<text x={middle} y=72 class=m>{name}</text>");
}

/// What the first and the last ordinary group are.
fn ends(labels: &mut String, kind: GroupKind, right: usize) {
    let (first, last) = match kind {
        GroupKind::Range | GroupKind::Value => ("low", "high"),
        GroupKind::Category => ("frequent", "seldom"),
        _ => return,
    };
    let _ = write!(labels, "<text x=0 y=72>{first}</text><text x={right} y=72 class=e>{last}</text>");
}
