//! What a model looks like, as one value for machines and one page for people.
//!
//! [`report`] makes a [`Report`] of what the judge and the catalog know; [`Report::to_json`] writes it for programs,
//! [`Report::to_html`] as a page that stands alone: one file, styles and pictures in it, no script, nothing fetched, for
//! a screen or a phone, light or dark. Everything here is a function of its arguments.
//!
//! # No values of the training data
//! A report is made to be sent around, and a profile's edges are values of training data. So a report has neither edges
//! nor lowest, highest or mean values, and a test holds it. Where a number falls is said by rank, "10 %–20 %" of the
//! reference's rows; a number with much mass of its own, and every value of a discrete feature, is "value 1", "value 2"
//! and so on from the lowest; a category is "category 1" from the most frequent. Positions in standard deviations were
//! considered and left: with a guess at two values they give all edges back. Who needs the categories' names asks for
//! them ([`Options::names`]); numbers are never shown. Names of models and features are shown, and so are counts.
//!
//! # The JSON
//! `format` is 1; fields are added within a format, never renamed or removed. What is not known is null. Numbers that
//! are not counts are rounded to four digits, ends of intervals to three. See [`Report`] and below for each field.
//!
//! Invariant: a report says what the judge found at one look; nothing is judged here.

mod alarm;
mod build;
mod columns;
mod groups;
mod html;
mod parts;
mod pictures;
#[cfg(test)]
mod tests;
mod text;

pub use build::{Options, Subject, report};
pub use parts::{
    Alarm, Answers, ColumnPart, Defect, Distance, DriftOverTime, Group, GroupDistances, GroupKind, Measured, Rate,
    ReferencePart, Report, VersionPart, WindowPart,
};
pub use text::length_name;
