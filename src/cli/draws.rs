//! Fresh, seeded customers for the `churn` model: what it is trained on and what a demo sends.
//!
//! A demo of drift needs draws that nobody has seen, from a population that is known exactly, so the
//! population is written down here instead of being shipped as a file of rows. The same seed gives the
//! same customers in every release: the random numbers are xoshiro256++ seeded through SplitMix64
//! (Blackman and Vigna, <https://prng.di.unimi.it>), written out below, because the generators a
//! library calls its standard ones may change between its versions. Only `ln`, `exp` and `cos` come
//! from the platform; their last bit may differ between platforms, which rounding hides but for rare
//! rows.
//!
//! # The population
//!
//! `z` are standard normal, `u` uniform on the open unit interval; each is drawn anew wherever it is
//! named. Two hidden traits tie the columns together: `activity` and `budget`, both standard normal.
//!
//! | # | feature | kind | law |
//! |---|---|---|---|
//! | 0 | `order_value` | money, rounded to cents | `60 · exp(0.45 · (0.5·budget + √0.75·z))`: lognormal, median 60 |
//! | 1 | `purchase_frequency` | count, orders in 90 days | Poisson with mean `exp(1.1 + 0.45·activity + 0.12·plan)` |
//! | 2 | `days_since_login` | fractional days | exponential with mean `9 · exp(−0.5·activity)`, at most 365 |
//! | 3 | `tenure_months` | fractional months | exponential with mean 26, cut at 120 (cut away, not piled up) |
//! | 4 | `support_tickets` | count, in 90 days | Poisson with mean `0.3 · exp(0.3·activity)` |
//! | 5 | `discount_share` | share of revenue, 0 to 1 | 0 for 45 %, else Kumaraswamy(1.5, 5): `(1 − u^(1/5))^(1/1.5)` |
//! | 6 | `session_minutes` | minutes | `12 · exp(0.35·activity + 0.5·z)`: lognormal, median 12 |
//! | 7 | `plan` | code: 0 free, 1 basic, 2 plus, 3 business | cuts of `0.6·budget + 0.8·z` at −0.385, 0.524 and 1.282: 35, 35, 20, 10 % |
//! | 8 | `auto_renew` | 0 or 1 | 1 with probability `σ(−0.6 + 0.4·plan + 0.015·tenure_months)` |
//! | 9 | `region` | code: 0 to 5 | 28, 22, 18, 14, 10, 8 % |
//!
//! Shares are rounded to 0.0001, other fractional columns to 0.01. A customer has left, `churned`,
//! with probability `σ(logit)`, where the logit reads the rounded values ([`churn_probability`]); about 22 % do:
//! logarithms and a saturating tenure make it nonlinear, and support tickets weigh more for those who
//! do not renew automatically (the interaction). Its weight on `order_value` is 0.02 per standard
//! deviation of the logarithm, deliberately next to nothing: a demo may then move that one column by
//! a whole standard deviation while a model's answers hardly move, so that drift of an input and
//! drift of an output can be told apart.
//!
//! Invariant: a customer takes the same number of random numbers whatever its values, so that changing
//! one column's law leaves the others' draws as they were; and every value is written so that reading
//! it back as `f32` gives the same bits.

use std::io::{self, Write};

/// How many features a customer has.
pub const FEATURES: usize = 10;

/// The features' names, in the order of [`Customer::features`] and of the `churn` model's input.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "order_value",
    "purchase_frequency",
    "days_since_login",
    "tenure_months",
    "support_tickets",
    "discount_share",
    "session_minutes",
    "plan",
    "auto_renew",
    "region",
];

/// The name of the label's column in [`write_csv`].
const LABEL_NAME: &str = "churned";

/// Upper cuts of the plans' hidden score: standard normal quantiles of 0.35, 0.70 and 0.90.
const PLAN_CUTS: [f64; 3] = [-0.385, 0.524, 1.282];

/// Cumulative shares of the regions but the last.
const REGION_CUTS: [f64; 5] = [0.28, 0.50, 0.68, 0.82, 0.92];

/// What each plan adds to the logit.
const PLAN_EFFECTS: [f64; 4] = [0.35, 0.0, -0.25, -0.5];

/// What each region adds to the logit.
const REGION_EFFECTS: [f64; 6] = [0.0, 0.1, -0.1, 0.15, -0.15, 0.25];

/// One customer: what the model sees and what became of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Customer {
    /// Values in the order of [`FEATURE_NAMES`]; units are in the module's table.
    pub features: [f32; FEATURES],
    /// Whether the customer left: a draw with [`churn_probability`].
    pub churned: bool,
}

/// An endless sequence of independent customers; the seed decides all of it.
#[derive(Debug, Clone)]
pub struct Draws {
    random: Random,
}

impl Draws {
    /// The sequence of this seed. Every seed is valid, and neighbouring seeds are unrelated.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed) }
    }

    fn customer(&mut self) -> Customer {
        let random = &mut self.random;
        let activity = random.normal();
        let budget = random.normal();
        let order_value = 60.0 * (0.45 * (0.5 * budget + 0.75_f64.sqrt() * random.normal())).exp();
        let plan = code(0.6 * budget + 0.8 * random.normal(), &PLAN_CUTS);
        let tenure_months = random.exponential_below(26.0, 120.0);
        let renews = sigmoid(-0.6 + 0.4 * plan + 0.015 * tenure_months);
        let auto_renew = f64::from(u8::from(random.uniform() < renews));
        let purchase_frequency = random.poisson((1.1 + 0.45 * activity + 0.12 * plan).exp());
        let days_since_login = (9.0 * (-0.5 * activity).exp() * -random.uniform().ln()).min(365.0);
        let support_tickets = random.poisson(0.3 * (0.3 * activity).exp());
        let full_price = random.uniform() < 0.45;
        let discount = (1.0 - random.uniform().powf(1.0 / 5.0)).powf(1.0 / 1.5);
        let session_minutes = 12.0 * (0.35 * activity + 0.5 * random.normal()).exp();
        let region = code(random.uniform(), &REGION_CUTS);
        let features = [
            rounded(order_value, 100.0),
            rounded(purchase_frequency, 1.0),
            rounded(days_since_login, 100.0),
            rounded(tenure_months, 100.0),
            rounded(support_tickets, 1.0),
            rounded(if full_price { 0.0 } else { discount }, 10_000.0),
            rounded(session_minutes, 100.0),
            rounded(plan, 1.0),
            rounded(auto_renew, 1.0),
            rounded(region, 1.0),
        ];
        let churned = random.uniform() < churn_probability(&features);
        Customer { features, churned }
    }
}

impl Iterator for Draws {
    type Item = Customer;

    fn next(&mut self) -> Option<Customer> {
        Some(self.customer())
    }
}

/// The true probability, 0 to 1, that a customer with these features leaves.
///
/// `features` are in the order of [`FEATURE_NAMES`]; a plan or region code outside its range has no
/// effect of its own.
#[must_use]
pub fn churn_probability(features: &[f32; FEATURES]) -> f64 {
    let [
        order_value,
        purchase_frequency,
        days_since_login,
        tenure_months,
        support_tickets,
        discount_share,
        session_minutes,
        plan,
        auto_renew,
        region,
    ] = features.map(f64::from);
    let logit = -0.5 - 0.02 * (order_value.max(0.01) / 60.0).ln() / 0.45 + 1.6 * (days_since_login / 10.0).ln_1p()
        - 0.8 * purchase_frequency.ln_1p()
        - 1.4 * (1.0 - (-tenure_months / 12.0).exp())
        + 0.45 * support_tickets
        + 0.9 * support_tickets * (1.0 - auto_renew)
        + 1.2 * discount_share
        - 0.25 * (session_minutes.max(0.01) / 12.0).ln()
        - 1.1 * auto_renew
        + effect(&PLAN_EFFECTS, plan)
        + effect(&REGION_EFFECTS, region);
    sigmoid(logit)
}

/// Writes the first `rows` customers of `seed` as CSV: a header line of [`FEATURE_NAMES`], then one
/// line per customer; `with_label` adds a last column `churned`, 0 or 1.
///
/// Numbers are the shortest decimals that read back as the same `f32`. Lines are written one by one:
/// hand in a buffered writer.
///
/// # Errors
/// Whatever `out` fails with.
pub fn write_csv(out: &mut impl Write, seed: u64, rows: usize, with_label: bool) -> io::Result<()> {
    out.write_all(FEATURE_NAMES.join(",").as_bytes())?;
    if with_label {
        write!(out, ",{LABEL_NAME}")?;
    }
    writeln!(out)?;
    for customer in Draws::new(seed).take(rows) {
        for (column, value) in customer.features.iter().enumerate() {
            let separator = if column == 0 { "" } else { "," };
            write!(out, "{separator}{value}")?;
        }
        if with_label {
            write!(out, ",{}", u8::from(customer.churned))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// `1 / (1 + e^-x)`.
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The nearest multiple of `1 / steps`, as the `f32` a client would send.
fn rounded(value: f64, steps: f64) -> f32 {
    ((value * steps).round() / steps) as f32
}

/// How many of the ascending `cuts` lie at or below `score`: a category code.
fn code(score: f64, cuts: &[f64]) -> f64 {
    cuts.iter().map(|cut| f64::from(u8::from(score >= *cut))).sum()
}

/// The effect of the category whose code is `value`, 0 for a code that has none.
fn effect(effects: &[f64], value: f64) -> f64 {
    (0_u32..).zip(effects).filter(|(code, _)| (f64::from(*code) - value).abs() < 0.5).map(|(_, effect)| *effect).sum()
}

/// xoshiro256++ 1.0, its 256 bits of state filled by SplitMix64 as its authors recommend.
#[derive(Debug, Clone)]
struct Random {
    state: [u64; 4],
}

impl Random {
    fn new(seed: u64) -> Self {
        let mut counter = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut counter)) }
    }

    fn next_u64(&mut self) -> u64 {
        let state = &mut self.state;
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// Uniform on the open unit interval: the middles of 2^52 equal cells, so that `ln` is finite.
    fn uniform(&mut self) -> f64 {
        const CELLS: f64 = (1_u64 << 52) as f64;
        ((self.next_u64() >> 12) as f64 + 0.5) / CELLS
    }

    /// Standard normal by Box and Muller, of which the sine half is thrown away.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Exponential with this mean, given that it is below `limit`, by inversion.
    fn exponential_below(&mut self, mean: f64, limit: f64) -> f64 {
        let mass = 1.0 - (-limit / mean).exp();
        -mean * (1.0 - self.uniform() * mass).ln()
    }

    /// Poisson by inversion, one random number each; at most 200, far past any mean used here.
    fn poisson(&mut self, mean: f64) -> f64 {
        let mut left = self.uniform();
        let mut probability = (-mean).exp();
        let mut count = 0.0;
        while left > probability && count < 200.0 {
            left -= probability;
            count += 1.0;
            probability *= mean / count;
        }
        count
    }
}

/// One step of SplitMix64.
fn split_mix(counter: &mut u64) -> u64 {
    *counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *counter;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(seed: u64, rows: usize, with_label: bool) -> String {
        let mut bytes = Vec::new();
        write_csv(&mut bytes, seed, rows, with_label).expect("a vector takes every write");
        String::from_utf8(bytes).expect("digits and names are ASCII")
    }

    #[test]
    fn no_rows_is_a_header_alone() {
        assert_eq!(csv(7, 0, false), format!("{}\n", FEATURE_NAMES.join(",")));
        assert!(csv(7, 0, true).ends_with("region,churned\n"));
    }

    #[test]
    fn random_numbers_are_the_published_ones() {
        let mut counter = 1_234_567;
        assert_eq!(split_mix(&mut counter), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut counter), 3_203_168_211_198_807_973);
        let mut random = Random { state: [1, 2, 3, 4] };
        let numbers: Vec<u64> = (0..4).map(|_| random.next_u64()).collect();
        assert_eq!(numbers, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn a_seed_decides_every_row() {
        assert_eq!(csv(7, 50, true), csv(7, 50, true));
        assert!(csv(7, 60, true).starts_with(&csv(7, 50, true)));
        assert_ne!(csv(7, 50, true), csv(8, 50, true));
    }

    #[test]
    fn seed_seven_starts_with_the_rows_the_models_were_trained_on() {
        let text = csv(7, 2, true);
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows, ["45.89,2,9,93.53,1,0,31.28,0,1,0,0", "82.66,3,2.3,3.3,0,0.1088,6.26,3,1,0,0"]);
    }

    #[test]
    fn csv_reads_back_as_the_same_numbers() {
        let text = csv(11, 500, false);
        for (line, customer) in text.lines().skip(1).zip(Draws::new(11)) {
            let read: Vec<u32> = line.split(',').map(|cell| cell.parse::<f32>().expect("a number").to_bits()).collect();
            assert_eq!(read, customer.features.map(f32::to_bits));
        }
    }

    #[test]
    fn every_value_is_in_its_range() {
        let ranges = [
            (1.0, 3_000.0),
            (0.0, 200.0),
            (0.0, 365.0),
            (0.0, 120.0),
            (0.0, 200.0),
            (0.0, 1.0),
            (0.0, 2_000.0),
            (0.0, 3.0),
            (0.0, 1.0),
            (0.0, 5.0),
        ];
        let counted = [1, 4, 7, 8, 9];
        for customer in Draws::new(3).take(20_000) {
            for (column, (value, (low, high))) in customer.features.iter().zip(ranges).enumerate() {
                let name = FEATURE_NAMES[column];
                assert!((low..=high).contains(value), "{name} is {value}");
                assert!(!counted.contains(&column) || value.fract().abs() < f32::EPSILON, "{name} is {value}");
            }
        }
    }

    #[test]
    fn population_has_the_documented_shape() {
        let rows: Vec<Customer> = Draws::new(5).take(20_000).collect();
        let share =
            |holds: &dyn Fn(&Customer) -> bool| rows.iter().filter(|row| holds(row)).count() as f64 / rows.len() as f64;
        assert!((0.20..0.25).contains(&share(&|row| row.churned)));
        assert!((0.48..0.52).contains(&share(&|row| row.features[0] < 60.0)));
        assert!((0.65..0.80).contains(&share(&|row| row.features[4] < 0.5)));
        assert!((0.43..0.47).contains(&share(&|row| row.features[5] <= 0.0)));
        assert!((0.33..0.37).contains(&share(&|row| row.features[7] < 0.5)));
        assert!((0.07..0.09).contains(&share(&|row| row.features[9] > 4.5)));
    }

    #[test]
    fn labels_follow_the_true_probability() {
        let rows: Vec<Customer> = Draws::new(9).take(20_000).collect();
        let expected: f64 = rows.iter().map(|row| churn_probability(&row.features)).sum();
        let seen = rows.iter().filter(|row| row.churned).count() as f64;
        // Five standard deviations of a sum of 20,000 coin tosses, each of variance at most 1/4.
        assert!((seen - expected).abs() < 5.0 * (20_000.0_f64 / 4.0).sqrt());
    }

    #[test]
    fn a_whole_deviation_of_order_value_hardly_matters() {
        for customer in Draws::new(13).take(1_000) {
            let mut moved = customer.features;
            moved[0] += 32.0;
            let change = churn_probability(&moved) - churn_probability(&customer.features);
            assert!(change.abs() < 0.02, "moved by {change}");
        }
    }
}
