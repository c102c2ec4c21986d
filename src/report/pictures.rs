//! The pictures of a column, as SVG.
//!
//! Paths are in whole pixels and relative where that is shorter: of the 2,000 bytes that a column may take, a picture
//! takes a quarter. Colours come from the page's style, so that they follow light and dark.
//!
//! Invariant: nothing in a picture is text of a user.

use super::groups::is_ordinary;
use super::parts::{ColumnPart, Group, GroupKind};
use super::text::{number, percent};
use crate::judge::POINTS;
use std::fmt::Write;

/// Width of a distribution, and where its bars stand.
const WIDTH: usize = 300;
const BASE: usize = 60;
/// Between ordinary groups and the rest.
const GAP: usize = 8;

/// Drift over time is drawn in units of two pixels: so high it may be, and so many units are a factor of ten.
const CEILING: f64 = 29.0;
const DECADE: f64 = 10.0;
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
    let (mut expected, mut found, mut labels) = (format!("M0 {BASE}"), String::new(), String::new());
    let (mut left, mut up) = (0, 0);
    for (index, (group, (reference, live))) in groups.iter().zip(shares).enumerate() {
        if index > 0 && is_ordinary(groups[index - 1].kind) && !is_ordinary(group.kind) {
            let _ = write!(expected, "V{BASE}h{GAP}");
            (left, up) = (left + GAP, 0);
        }
        vertical(&mut expected, up, height(reference));
        let _ = write!(expected, "h{pitch}");
        up = height(reference);
        if group.live > 0 {
            // A bar is a thick line, and one that is there is seen.
            let _ = write!(found, "M{} {BASE}v-{}", left + pitch / 2, height(live).max(1));
        }
        label(&mut labels, group.kind, left + pitch / 2);
        left += pitch;
    }
    let ordinary = groups.iter().filter(|group| is_ordinary(group.kind)).count();
    ends(&mut labels, groups[0].kind, ordinary * pitch);
    let width = (pitch / 2).max(2);
    format!(
        "<svg class=p viewBox=\"0 0 {WIDTH} 74\" role=img><title>Reference and live shares. {}</title><path class=r \
         d=\"{expected}V{BASE}z\"/><path class=l stroke-width={width} d=\"{found}\"/>{labels}</svg>",
        description(groups),
    )
}

/// From `before` above the base to `after`.
fn vertical(path: &mut String, before: usize, after: usize) {
    if before != after {
        let _ = write!(path, "v{}", before as i64 - after as i64);
    }
}

/// What all drifts over time of a version have in common, under the name that they refer to: lines at 0.1 and 1, and
/// how long ago the left end is.
pub(super) fn frame(name: &str, span: &str) -> String {
    format!(
        "<svg hidden><g id={name}><path class=g d=\"M0 29h192M0 9h192\"/><path class=b d=\"M0 60h192\"/><text x=195 \
         y=12>1</text><text x=195 y=32>0.1</text><text x=0 y=72>{span} ago</text><text x=192 y=72 class=e>now</text>\
         </g></svg>"
    )
}

/// PSI beyond chance over time in the frame of that name; empty without points.
pub(super) fn over_time(column: &ColumnPart, frame: &str) -> String {
    if column.drift.iter().all(Option::is_none) {
        return String::new();
    }
    let mut line = Line::default();
    // The newest point is at the right, whatever their number.
    let first = POINTS.saturating_sub(column.drift.len());
    (first..).zip(&column.drift).for_each(|(index, value)| line.point(index, value.map(elevation)));
    line.point(POINTS, None);
    let highest = column.drift.iter().flatten().fold(0.0_f64, |highest, &value| highest.max(value));
    format!(
        "<svg class=t viewBox=\"0 0 210 74\" role=img><title>Drift over time, at most {}</title><use href=#{frame} />\
         <path class=l d=\"{}\"/></svg>",
        number(highest),
        line.path,
    )
}

/// A filled line of points that are one unit apart, with gaps.
#[derive(Default)]
struct Line {
    path: String,
    /// How high the last point was.
    up: Option<usize>,
    /// Units since then at the same height that are not drawn yet.
    flat: usize,
    /// Whether the last command was a line, after which its letter may be left out.
    is_line: bool,
}

impl Line {
    fn point(&mut self, index: usize, point: Option<usize>) {
        match (self.up, point) {
            (None, Some(up)) => {
                let _ = write!(self.path, "M{index} 30v-{up}");
                self.is_line = false;
            }
            (Some(before), Some(up)) if before == up => self.flat += 1,
            (Some(before), Some(up)) => {
                self.draw_flat();
                let letter = if self.is_line { " " } else { "l" };
                let change = before as i64 - up as i64;
                let blank = if change < 0 { "" } else { " " };
                let _ = write!(self.path, "{letter}1{blank}{change}");
                self.is_line = true;
            }
            (Some(_), None) => {
                self.flat += 1;
                self.draw_flat();
                self.path.push_str("V30");
            }
            (None, None) => {}
        }
        self.up = point;
    }

    fn draw_flat(&mut self) {
        if self.flat > 0 {
            let _ = write!(self.path, "h{}", self.flat);
            (self.flat, self.is_line) = (0, false);
        }
    }
}

/// Units above the base, on a logarithmic scale: 0.1 is 15 and 1 is 25.
fn elevation(value: f64) -> usize {
    scaled(((value / LOWEST).max(1.0).log10() * DECADE).min(CEILING)).max(1)
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
        format!("Bar {place} of {} differs most: {reference} % to {live} %", groups.len())
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
