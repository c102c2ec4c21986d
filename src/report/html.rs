//! The page: one file without a script, which fetches nothing and may fetch nothing.
//!
//! A column is one line of pictures, which unfolds into its numbers. 100 features with everything must stay below 200 kB,
//! so tags that HTML lets one leave out are left out, and classes are a letter; `style.css` says which is which.
//!
//! Invariant: every text that is not of this file goes through [`Safe`].

use super::parts::{Alarm, Answers, ColumnPart, Rate, Report, VersionPart};
use super::pictures::{distribution, frame, over_time, shares};
use super::text::{count, number, percent, span, took, when};
use crate::detect::{LatencyVerdict, Outcome, Test, Verdict};
use crate::judge::POINTS;
use crate::profile::Source;
use std::fmt::{self, Display, Write};

const STYLE: &str = include_str!("style.css");

/// Columns that are unfolded at first, if they drift.
const UNFOLDED: usize = 1;

/// Bytes that the columns of a version may take; of 200,000 some are for the rest of the page.
const LIMIT: usize = 190_000;

/// What ends a column.
const END: &str = "</details>";

/// Nothing may be fetched or run, wherever the file lies.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Text that cannot be taken for markup, nor in an attribute with double quotes for its end.
struct Safe<'a>(&'a str);

impl Display for Safe<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                // Controls that turn or hide the text after them.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => formatter.write_char('\u{fffd}')?,
                _ if character.is_control() => formatter.write_char('\u{fffd}')?,
                _ => formatter.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// The page of a report.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::with_capacity(200_000);
    let model = Safe(&report.model);
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta name=color-scheme content=\"light dark\"><meta http-equiv=Content-Security-Policy content=\"{POLICY}\">\
         <title>{model} · drift report</title><style>{STYLE}</style><header><h1><bdi>{model}</bdi></h1><p>Drift report \
         of {}, made by tidegate {}.</header><main>",
        Safe(&when(&report.generated_at)),
        env!("CARGO_PKG_VERSION"),
    );
    if report.versions.is_empty() {
        page.push_str("<p>No version of this model has been looked at yet.");
    }
    report.versions.iter().for_each(|version| write_version(&mut page, version));
    page.push_str("</main><footer>");
    page.push_str(FOOTER);
    page.push_str("</footer></html>\n");
    page
}

/// How to read the page, and what it leaves out.
const FOOTER: &str = "<h2>How to read this</h2><p>Grey areas are the reference, coloured bars the traffic of the window, \
    over the same groups: of numbers, tenths of the reference's rows from the lowest to the highest, and a single number \
    with much mass alone. <b>PSI beyond chance</b> is the population stability index minus what is expected of it without \
    drift; below 0.1 a change is usually taken for small, from 0.25 for large. Intervals are of 95 % and hold for the \
    populations behind both samples: the distance of the samples themselves, which noise makes larger, can lie above \
    them. What follows ± is how far binning can have moved a distance. Drift over time is on a logarithmic scale, a point being the largest value of its \
    time.<p>This file holds no values of the training data: no edges, no lowest, highest or mean values, and names of \
    categories only if they were asked for.";

fn write_version(page: &mut String, version: &VersionPart) {
    let (name, arm) = (Safe(&version.version), Safe(&version.arm));
    let arm = if version.arm == "none" {
        "no share of the traffic".to_owned()
    } else {
        format!("{arm}, {} %", version.weight)
    };
    let _ = write!(
        page,
        "<section><h2>Version {name} <small>{arm}</small> {}</h2><p class=s>{}<dl>",
        verdict(version.verdict),
        Safe(&version.summary),
    );
    write_facts(page, version);
    write_answers(page, &version.answers);
    page.push_str("</dl>");
    let answers = &version.answers;
    let rates = [&answers.slow, &answers.failed, &answers.refused];
    rates.into_iter().filter_map(|rate| rate.alarm.as_ref()).for_each(|alarm| write_alarm(page, alarm));
    // The version's number is digits, and letters before it make it a name.
    let name = format!("t{}", version.version.chars().filter(char::is_ascii_digit).collect::<String>());
    page.push_str(&frame(&name, &span(POINTS as f64 * version.drift.step_seconds)));
    page.push_str(
        "<div class=h><span></span><span><i class=r></i>reference <i class=l></i>live <i class=y></i>live, drifting</span><span>PSI beyond chance over \
         time</span></div>",
    );
    write_columns(page, version, &name);
    page.push_str("</section>");
}

fn write_facts(page: &mut String, version: &VersionPart) {
    if let Some(window) = version.windows.first() {
        let _ = write!(
            page,
            "<div><dt>Window<dd>{}<small>{} rows; covers up to {} more</small></div>",
            Safe(&window.name),
            count(version.samples),
            span(window.resolution_seconds.unwrap_or(0.0)),
        );
    }
    let Some(reference) = &version.reference else {
        page.push_str("<div><dt>Reference<dd>none<small>nothing to compare with</small></div>");
        return;
    };
    let source = match (reference.learned_from_traffic, reference.source) {
        (true, _) => "learned from traffic",
        (false, Source::Csv) => "from CSV",
        (false, Source::Parquet) => "from Parquet",
        (false, Source::Live) => "from live traffic",
    };
    let created = reference.created.as_deref().map(|created| format!(", {}", Safe(&when(created)))).unwrap_or_default();
    let rows = count(reference.rows);
    let _ = write!(page, "<div><dt>Reference<dd>{rows} rows<small>{source}{created}</small></div>");
}

fn write_answers(page: &mut String, answers: &Answers) {
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), took);
    let limit = took(answers.p99_limit_seconds);
    let judged = match answers.verdict {
        LatencyVerdict::Ok => format!("within {limit}"),
        LatencyVerdict::Slow => format!("above {limit}"),
        LatencyVerdict::NotEnoughData => format!("limit {limit}; too few requests to judge"),
    };
    let _ = write!(
        page,
        "<div><dt>99th percentile<dd>{}<small>{judged}; median {}; {} requests in {}</small></div>",
        time(answers.p99_seconds),
        time(answers.p50_seconds),
        count(answers.requests),
        span(answers.window_seconds),
    );
    let share = |rate: &Rate| if rate.trials == 0 { 0.0 } else { rate.events as f64 / rate.trials as f64 };
    let allowed = |rate: &Rate| percent(rate.allowed);
    let [shape, datatype, other] = answers.unfit.map(count);
    let _ = write!(
        page,
        "<div><dt>Failures<dd>{} %<small>5xx, {} % are allowed; slow requests {} % of {} %</small></div>\
         <div><dt>Refusals<dd>{} %<small>4xx; since it was loaded {shape} of a wrong shape, {datatype} of a wrong type, \
         {other} malformed</small></div>",
        percent(share(&answers.failed)),
        allowed(&answers.failed),
        percent(share(&answers.slow)),
        allowed(&answers.slow),
        percent(share(&answers.refused)),
    );
}

fn write_alarm(page: &mut String, alarm: &Alarm) {
    let _ = write!(page, "<p class=a>{}", Safe(&alarm.text));
}

/// All columns with their pictures; and with their tables as long as these fit, the worst first.
fn write_columns(page: &mut String, version: &VersionPart, frame: &str) {
    let columns = || version.columns.iter().enumerate();
    let heads: Vec<String> = columns().map(|(index, column)| head(column, index < UNFOLDED, frame)).collect();
    let briefs: Vec<String> = version.columns.iter().map(brief).collect();
    let mut room = LIMIT.saturating_sub(heads.iter().chain(&briefs).map(|text| text.len() + END.len()).sum());
    let mut left_out = 0;
    for (column, (head, brief)) in version.columns.iter().zip(heads.into_iter().zip(briefs)) {
        page.push_str(&head);
        let tables = tables(column);
        let more = tables.len().saturating_sub(brief.len());
        if more <= room {
            room -= more;
            page.push_str(&tables);
        } else {
            left_out += 1;
            page.push_str(&brief);
        }
        page.push_str(END);
    }
    if left_out > 0 {
        let _ = write!(
            page,
            "<p><small>The last {left_out} columns are shown without their tables, to keep this file small; the JSON of \
             this report has them.</small>"
        );
    }
}

/// What a column's line shows, and its alarm.
fn head(column: &ColumnPart, may_unfold: bool, frame: &str) -> String {
    let drifts = column.verdict == Verdict::Drift;
    let class = if drifts { " class=d" } else { "" };
    let open = if drifts && may_unfold { " open" } else { "" };
    let kind = column.kind.map(|kind| format!("{kind} ")).unwrap_or_default();
    let cause = column.alarm.as_ref().map(|alarm| format!(" · {}", cause(&alarm.cause))).unwrap_or_default();
    let critical = if column.critical { ", critical" } else { "" };
    let excess =
        column.psi_excess.map(|excess| format!(" PSI beyond chance {}", number(excess.max(0.0)))).unwrap_or_default();
    let mut head = format!(
        "<details{class}{open}><summary><div><bdi>{}</bdi><small>{kind}{}{critical}{cause}</small>{}{excess}</div>{}{}</summary>",
        Safe(&column.name),
        Safe(&column.side),
        verdict(column.verdict),
        distribution(column),
        over_time(column, frame),
    );
    column.alarm.iter().for_each(|alarm| write_alarm(&mut head, alarm));
    column.outcome.iter().filter(|_| drifts).for_each(|outcome| write_outcome(&mut head, outcome));
    head
}

/// What a preset's test found.
fn write_outcome(page: &mut String, outcome: &Outcome) {
    let test = match outcome.test {
        Test::ExcessPsi => "PSI beyond chance",
        Test::PsiAndKs => "PSI, with a Kolmogorov-Smirnov test,",
        Test::PsiAndChiSquare => "PSI, with a chi-square test,",
        Test::Ks => "the Kolmogorov-Smirnov distance",
        Test::ChiSquare => "chi-square",
        Test::Proportions => "the test on two proportions",
        Test::Wasserstein => "the Wasserstein distance over σ",
        Test::JensenShannon => "the Jensen-Shannon distance",
    };
    let p_value = outcome.p_value.map(|p_value| format!(", p = {}", number(p_value))).unwrap_or_default();
    let _ = write!(
        page,
        "<p class=a>By the preset\u{2019}s test: {test} is {}{p_value} (threshold {}).",
        number(outcome.statistic),
        number(outcome.threshold)
    );
}

/// The numbers of a column.
fn tables(column: &ColumnPart) -> String {
    let mut tables = "<div class=n>".to_owned();
    write_groups(&mut tables, column);
    write_distances(&mut tables, column);
    write_windows(&mut tables, column);
    tables.push_str("</div>");
    tables
}

/// The same in a line.
fn brief(column: &ColumnPart) -> String {
    let mut line = "<p class=n>".to_owned();
    for distance in &column.distances {
        let _ = write!(line, "{} {}", distance_name(&distance.name), number(distance.value));
        if let (Some(low), Some(high)) = (distance.low, distance.high) {
            let _ = write!(line, " ({}–{}) ", number(low), number(high));
        }
    }
    line
}

fn write_groups(page: &mut String, column: &ColumnPart) {
    if column.groups.is_empty() {
        return;
    }
    page.push_str("<table><tr><th>Group<th>Reference %<th>Live %");
    for (group, (reference, live)) in column.groups.iter().zip(shares(&column.groups)) {
        let _ = write!(page, "<tr><td>{}<td>{}<td>{}", Safe(&group.label), percent(reference), percent(live));
    }
    // Missing, infinite and unseen values are groups already.
    for defect in column.defects.iter().filter(|defect| defect.kind.ends_with("_range") && defect.live > 0) {
        let name = if defect.kind == "below_range" { "below all" } else { "above all" };
        let _ = write!(page, "<tr><td>{name}<td>0<td>{}", percent(defect.live_share));
    }
    page.push_str("</table>");
}

fn write_distances(page: &mut String, column: &ColumnPart) {
    if column.distances.is_empty() {
        return;
    }
    page.push_str("<table><tr><th>Distance<th><th>95 % interval");
    for distance in &column.distances {
        let _ = write!(page, "<tr><td>{}<td>{}", distance_name(&distance.name), number(distance.value));
        if let Some(error) = distance.error {
            let _ = write!(page, " ± {}", number(error));
        }
        if let (Some(low), Some(high)) = (distance.low, distance.high) {
            let _ = write!(page, "<td>{}–{}", number(low), number(high));
        }
    }
    page.push_str("</table>");
}

fn write_windows(page: &mut String, column: &ColumnPart) {
    page.push_str("<table><tr><th>Window<th>Values<th>PSI<th>JS");
    for measured in &column.windows {
        let name = match measured.window.as_str() {
            "since_deploy" => "since deploy",
            "decayed" => "fading",
            "season" => "this hour of the week",
            name => name,
        };
        let _ = write!(page, "<tr><td>{}<td>{}", Safe(name), count(measured.samples));
        if let Some(found) = &measured.distances {
            let _ = write!(page, "<td>{}<td>{}", number(found.psi), number(found.js));
        }
    }
    page.push_str("</table>");
}

/// What is wrong with a column.
fn cause(name: &str) -> &'static str {
    match name {
        "missing" => "missing values",
        "infinite" => "infinite values",
        "out_of_range" => "values out of range",
        "unseen_category" => "unseen categories",
        _ => "distribution changed",
    }
}

fn distance_name(name: &str) -> &'static str {
    match name {
        "psi" => "PSI",
        "js" => "JS",
        "ks" => "KS",
        "wasserstein" => "W1 / σ",
        "l_infinity" => "L∞",
        "hellinger" => "Hellinger",
        "chi_square" => "χ² per row",
        _ => "TV",
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "<em class=o>ok</em>",
        Verdict::Drift => "<em class=x>drift</em>",
        Verdict::NotEnoughData => "<em>not enough data</em>",
        Verdict::NoReference => "<em>no reference</em>",
    }
}
