//! What a report says, what it must not say, and how large it may be.

use super::*;
use crate::config::{Config, DriftPreset, ModelSettings};
use crate::detect::Verdict;
use crate::judge::{Look, VersionReport, VersionWatch};
use crate::observe::{Evidence, Recorder, Totals};
use crate::profile::{ColumnSpec, Profile, ProfileBuilder, ProfileOptions, Side};
use crate::tensor::{DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorSpec};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::Duration;

const START: u64 = 1_790_000_000;
const CITIES: [&str; 3] = ["Ouagadougou", "Reykjavik", "Ulaanbaatar"];

/// A version under watch, without an engine.
struct Scene {
    model: String,
    profile: Option<Profile>,
    recorder: Recorder,
    watch: VersionWatch,
    settings: Arc<ModelSettings>,
    look: Option<Look>,
    /// Unix time, milliseconds.
    now: u64,
}

fn tensor(name: &str, datatype: DataType, width: usize) -> TensorSpec {
    let shape = vec![Dimension::Free("N".into()), Dimension::Fixed(width)];
    TensorSpec { name: name.into(), datatype, shape }
}

fn spec(tensor: &str, index: usize, name: &str, datatype: DataType) -> ColumnSpec {
    ColumnSpec { side: Side::Input, tensor: tensor.into(), index, name: name.into(), datatype, statistic: None }
}

/// Between 60,000 and 80,000, spread evenly without repetition: five digits that no count of a test has.
fn price(index: u32) -> f32 {
    60_000.0 + 20_000.0 * (f64::from(index) * 0.618_033_988_749_894_9).fract() as f32
}

/// Three numbers, the first of them much more often; for a discrete feature.
fn rooms(index: u32) -> f32 {
    [91_357.0, 92_468.0, 93_579.0][[0, 0, 0, 1, 2][index as usize % 5]]
}

/// Codes without an order.
fn code(index: u32) -> i64 {
    [81_234, 85_678, 89_012][index as usize % 3]
}

impl Scene {
    fn new(signature: &Signature, profile: Option<Profile>) -> Self {
        let recorder = Recorder::new(signature, profile.as_ref(), 512, 1);
        let mut settings = Config::default().model("m");
        settings.drift.window = Duration::from_secs(20);
        let settings = Arc::new(settings);
        let watch = VersionWatch::new(recorder.columns(), &settings);
        Self { model: "homes".into(), profile, recorder, watch, settings, look: None, now: START * 1_000 }
    }

    /// Two numbers, a code and a string, on 3,000 rows.
    fn mixed(names: [&str; 4]) -> Self {
        let signature = Signature {
            inputs: vec![
                tensor("x", DataType::Fp32, 2),
                tensor("code", DataType::Int64, 1),
                tensor("city", DataType::Bytes, 1),
            ],
            outputs: vec![tensor("y", DataType::Fp32, 1)],
        };
        let categorical = [names[2].to_owned()].into();
        let mut builder = ProfileBuilder::new(ProfileOptions { categorical, ..ProfileOptions::default() });
        let prices = builder.add_column(spec("x", 0, names[0], DataType::Fp32));
        let sizes = builder.add_column(spec("x", 1, names[1], DataType::Fp32));
        let codes = builder.add_column(spec("code", 0, names[2], DataType::Int64));
        let cities = builder.add_column(spec("city", 0, names[3], DataType::Bytes));
        let output = ColumnSpec { side: Side::Output, ..spec("y", 0, "y", DataType::Fp32) };
        let outputs = builder.add_column(output);
        builder.absorb_numbers(prices, (0..3_000).map(|row| f64::from(price(row)))).unwrap();
        builder.absorb_numbers(sizes, (0..3_000).map(|row| f64::from(rooms(row)))).unwrap();
        builder.absorb_numbers(codes, (0..3_000).map(|row| code(row) as f64)).unwrap();
        let rows = (0..3_000_usize).map(|row| Some(CITIES[[0, 0, 1, 2][row % 4]].as_bytes()));
        builder.absorb_strings(cities, rows).unwrap();
        builder.absorb_numbers(outputs, (0..3_000).map(|row| f64::from(price(row + 7)))).unwrap();
        Self::new(&signature, Some(builder.finish().unwrap()))
    }

    /// Serves rows like the reference's one by one, prices moved by so much, and looks.
    fn serve(&mut self, rows: u32, moved: f32) {
        for row in 0..rows {
            let city = CITIES[[0, 0, 1, 2][row as usize % 4]].as_bytes();
            let one = |data| Tensor::try_new(Shape::matrix(1, 1), data).unwrap();
            let numbers = TensorData::Fp32(vec![price(row + 11) + moved, rooms(row)]);
            let inputs = [
                Tensor::try_new(Shape::matrix(1, 2), numbers).unwrap(),
                one(TensorData::Int64(vec![code(row)])),
                one(TensorData::Bytes([city].into_iter().collect())),
            ];
            let output = [one(TensorData::Fp32(vec![price(row + 3)]))];
            self.recorder.record_prediction(0, Evidence::Row { draw: 0 }, &inputs, &output);
        }
        let totals = self.recorder.totals();
        self.look(1_000, &totals);
    }

    fn look(&mut self, milliseconds: u64, totals: &Totals) {
        self.now += milliseconds;
        self.look = Some(self.watch.look(Duration::from_millis(self.now), self.recorder.columns(), totals));
    }

    fn judged(&self) -> VersionReport {
        let look = self.look.clone().unwrap();
        VersionReport {
            model: self.model.clone(),
            version: 3,
            arm: "stable",
            window: look.window,
            resolution: look.resolution,
            samples: look.samples,
            verdict: look.verdict,
            no_reference: None,
            reference: None,
            windows: look.windows,
            blocks: look.blocks,
            columns: look.columns,
            segments: look.segments,
            primary: look.primary,
            history: look.history,
            latency: look.answers.latency,
            answers: look.answers,
            settings: Arc::clone(&self.settings),
        }
    }

    fn report(&self, names: bool) -> Report {
        let judged = self.judged();
        let subject = Subject {
            judged: &judged,
            columns: self.recorder.columns(),
            profile: self.profile.as_ref(),
            weight: 90.0,
            refusals: [3, 2, 1],
        };
        report(&self.model, &[subject], Duration::from_millis(self.now), &Options { names })
    }
}

fn json(report: &Report) -> String {
    String::from_utf8(report.to_json()).unwrap()
}

#[test]
fn without_versions_references_or_traffic_there_is_still_a_page() {
    let empty = report("homes", &[], Duration::ZERO, &Options::default());
    assert!(empty.to_html().contains("No version of this model"), "{}", empty.to_html());
    let signature = Signature { inputs: vec![tensor("x", DataType::Fp32, 2)], outputs: Vec::new() };
    let mut scene = Scene::new(&signature, None);
    scene.look(1_000, &scene.recorder.totals());
    let found = scene.report(false);
    let version = &found.versions[0];
    assert_eq!((version.verdict, &version.reference), (Verdict::NoReference, &None));
    assert!(version.columns.iter().all(|column| column.groups.is_empty() && column.drift.iter().all(Option::is_none)));
    assert!(found.to_html().contains("no reference") && !found.to_html().contains("NaN"));
    let mut scene = Scene::mixed(["price", "rooms", "code", "city"]);
    scene.look(1_000, &scene.recorder.totals());
    assert_eq!(scene.report(false).versions[0].verdict, Verdict::NotEnoughData);
}

#[test]
fn the_column_that_drifted_most_comes_first_and_says_how() {
    let mut scene = Scene::mixed(["price", "rooms", "code", "city"]);
    (0..8).for_each(|_| scene.serve(500, 0.0));
    assert!(scene.report(false).versions[0].summary.starts_with("No drift in 5 columns"), "{:?}", scene.report(false));
    (0..8).for_each(|_| scene.serve(500, 6_000.0));
    let found = scene.report(false);
    let version = &found.versions[0];
    let first = &version.columns[0];
    assert_eq!((first.name.as_str(), first.verdict, first.samples), ("price", Verdict::Drift, 8_000));
    assert!(version.summary.starts_with("1 of 5 columns drifts (price)"), "{}", version.summary);
    assert!(first.alarm.as_ref().is_some_and(|alarm| alarm.text.starts_with("Alarm since")), "{first:?}");
    for distance in &first.distances {
        let (low, high) = (distance.low.unwrap(), distance.high.unwrap());
        assert!(low <= distance.value && distance.value <= high && low < high, "{distance:?}");
        assert_eq!(distance.error.is_some(), distance.name == "wasserstein", "{distance:?}");
    }
    let names: Vec<&str> = first.distances.iter().map(|distance| distance.name.as_str()).collect();
    assert_eq!(names, ["psi", "js", "ks", "wasserstein", "tv", "l_infinity", "hellinger", "chi_square"]);
    let (lowest, highest) = (first.groups.first().unwrap(), first.groups.last().unwrap());
    assert!(lowest.label.starts_with("0–1") && highest.label.ends_with("–100 %"), "{:?}", first.groups);
    assert!(lowest.live < highest.live && (270..=400).contains(&highest.reference), "{:?}", first.groups);
    let above = first.defects.iter().find(|defect| defect.kind == "above_range").unwrap();
    assert!(above.live > 1_000 && above.reference_share == 0.0, "{above:?}");
    assert!(first.drift.iter().flatten().any(|&excess| excess > 0.1), "{:?}", first.drift);
    let html = found.to_html();
    for shown in ["<td>W1 / σ<td>", " ± ", "<td>L∞<td>", "<td>Hellinger<td>", "<td>χ² per row<td>"] {
        assert!(html.contains(shown), "{shown}");
    }
    assert!(html.find("<bdi>price").unwrap() < html.find("<bdi>rooms").unwrap());
    assert_eq!(html.matches("<svg class=p").count(), 5);
    assert_eq!(html.matches("<title>").count(), 1 + html.matches("role=img").count(), "every picture says what it is");
}

#[test]
fn groups_are_named_by_rank_number_in_the_order_or_place_in_the_list() {
    let mut scene = Scene::mixed(["price", "rooms", "code", "city"]);
    scene.serve(500, 0.0);
    let labels = |names: bool, name: &str| -> Vec<String> {
        let columns = scene.report(names).versions[0].columns.clone();
        let column = columns.into_iter().find(|column| column.name == name).unwrap();
        column.groups.into_iter().map(|group| group.label).collect()
    };
    assert_eq!(labels(false, "rooms"), ["value 1", "value 2", "value 3"]);
    assert_eq!(labels(false, "city"), ["category 1", "category 2", "category 3"]);
    assert_eq!(labels(true, "city"), CITIES);
    assert_eq!(labels(true, "code"), ["81234", "85678", "89012"]);
    assert_eq!(labels(true, "rooms"), labels(false, "rooms"), "numbers are never shown");
}

/// Edges, lowest, highest and mean values, deviations and categories, as they could be written.
fn values(profile: &Profile) -> Vec<String> {
    let mut found = Vec::new();
    for column in profile.inputs.iter().chain(&profile.outputs) {
        let moments = [column.minimum, column.maximum, column.mean, column.std].into_iter().flatten();
        for number in column.edges.iter().copied().chain(moments) {
            found.push(number.to_string());
            found.push(format!("{number:.1}"));
            found.push(format!("{number:.2}"));
            found.push(format!("{:.0}", number.trunc()));
        }
        found.extend(column.categories.iter().flatten().map(|category| category.value.clone()));
    }
    found.sort();
    found.dedup();
    found.retain(|text| text.len() > 3);
    found
}

#[test]
fn no_value_of_the_training_data_is_in_a_report() {
    let mut scene = Scene::mixed(["price", "rooms", "code", "city"]);
    (0..8).for_each(|_| scene.serve(500, 6_000.0));
    let values = values(scene.profile.as_ref().unwrap());
    assert!(values.len() > 400, "{}", values.len());
    let found = scene.report(false);
    for text in [json(&found), found.to_html()] {
        for value in &values {
            assert!(!text.contains(value.as_str()), "{value} in {text}");
        }
        assert!(!text.contains("e+") && !text.contains("NaN") && !text.contains("inf<"), "{text}");
    }
    let named = json(&scene.report(true));
    assert!(CITIES.iter().all(|city| named.contains(city)), "the check would see them: {named}");
}

#[test]
fn hostile_names_stay_text() {
    let evil = ["</style><script>alert(1)</script>", "\" onload=\"x", "'><img src=x onerror=y>", "&lt;\u{202e}\0b"];
    let mut scene = Scene::mixed(evil);
    scene.model = "<svg/onload=alert(2)>".into();
    (0..4).for_each(|_| scene.serve(500, 6_000.0));
    let html = scene.report(true).to_html();
    for markup in ["<script", "<img", "<svg/", "onload=\"", "</style><script", "\u{202e}", "\0"] {
        assert!(!html.contains(markup), "{markup}");
    }
    for text in ["&lt;/style&gt;&lt;script&gt;alert(1)", "<bdi>&lt;svg/onload=alert(2)&gt;</bdi>", "&amp;lt;\u{fffd}"] {
        assert!(html.contains(text), "{text}");
    }
    assert_eq!(
        json(&scene.report(false)).matches("alert(1)").count(),
        2,
        "JSON has names as they are, and its summary"
    );
}

#[test]
fn a_page_stands_alone() {
    let mut scene = Scene::mixed(["price", "rooms", "code", "city"]);
    (0..4).for_each(|_| scene.serve(500, 6_000.0));
    let html = scene.report(false).to_html();
    for outside in ["http:", "https:", "url(", "@import", "<link", "<script", "src=", "href=\"", "href=h", "href=/"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src 'none'") && html.contains("prefers-color-scheme:dark"));
    assert!(html.contains("<html lang=en>") && html.contains("name=viewport"));
}

#[test]
fn the_json_reads_back_as_it_was() {
    let mut scene = Scene::mixed(["price", "rooms", "code", "city"]);
    (0..4).for_each(|_| scene.serve(500, 6_000.0));
    let found = scene.report(false);
    assert_eq!(found.format, 1);
    assert_eq!(serde_json::from_slice::<Report>(&found.to_json()).unwrap(), found);
}

#[test]
fn a_preset_that_judges_by_a_test_says_what_it_found() {
    let mut scene = Scene::mixed(["price", "rooms", "code", "city"]);
    let mut settings = (*scene.settings).clone();
    settings.drift.preset = DriftPreset::Classic;
    scene.settings = Arc::new(settings);
    scene.watch = VersionWatch::new(scene.recorder.columns(), &scene.settings);
    (0..4).for_each(|_| scene.serve(500, 6_000.0));
    let found = scene.report(false);
    let first = &found.versions[0].columns[0];
    assert_eq!((first.name.as_str(), first.verdict), ("price", Verdict::Drift));
    let cause = first.alarm.as_ref().map(|alarm| alarm.cause.as_str());
    assert_eq!(cause, Some("out_of_range"), "drift has no alarm under this preset, defects do");
    assert!(first.outcome.is_some_and(|outcome| outcome.drifted && outcome.p_value.is_some()), "{first:?}");
    assert!(found.to_html().contains("PSI, with a Kolmogorov-Smirnov test, is"));
}

/// A hundred features of 64 bins, all of which drift, now more and now less, and a day's worth of large counts.
fn crowded() -> Scene {
    const FEATURES: usize = 100;
    let signature = Signature { inputs: vec![tensor("x", DataType::Fp32, FEATURES)], outputs: Vec::new() };
    let mut builder = ProfileBuilder::default();
    for index in 0..FEATURES {
        let name = format!("payments_last_90_days_{index}");
        let key = builder.add_column(spec("x", index, &name, DataType::Fp32));
        let values = (0..2_000).map(|row| if row % 50 == 0 { f64::NAN } else { f64::from(price(row)) });
        builder.absorb_numbers(key, values).unwrap();
    }
    let profile = builder.finish().unwrap();
    assert!(profile.inputs.iter().all(|column| column.counts.len() == 64));
    let mut scene = Scene::new(&signature, Some(profile));
    let (mut draws, mut totals) = (StdRng::seed_from_u64(7), scene.recorder.no_totals());
    for _ in 0..96 {
        for slot in &mut totals.slots {
            *slot += draws.random_range(0..40_000) * u64::from(draws.random_bool(0.2));
        }
        // All rows that count as evidence are in one group of each column.
        for column in scene.recorder.columns() {
            totals.cells[column.cells.start] += 50;
        }
        totals.evidence_rows += 50;
        totals.rows += 1_000_000;
        scene.look(3_750, &totals);
    }
    scene
}

#[test]
fn a_hundred_features_take_at_most_200_kilobytes() {
    let found = crowded().report(false);
    let version = &found.versions[0];
    assert_eq!((version.columns.len(), version.drift.points), (100, 96));
    for column in &version.columns {
        assert!(column.verdict == Verdict::Drift && column.groups.len() >= 10, "{column:?}");
    }
    let (html, json) = (found.to_html().len(), found.to_json().len());
    println!("100 features: {html} bytes of HTML, {json} bytes of JSON");
    assert!(html <= 200_000, "{html} bytes of HTML");
    assert!(json <= 330_000, "{json} bytes of JSON");
    assert!(found.to_html().contains("are shown without their tables"), "the test would not see a page that is cut");
}
