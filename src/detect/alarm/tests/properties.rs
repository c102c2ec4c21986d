//! What holds of alarms for any counters, states and times.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn weights_paid_out_never_exceed_what_time_allows(steps in prop::collection::vec((1_u64..400_000, 0_u64..2_000), 1..300)) {
        let (mut schedule, mut at, mut rows, mut paid) = (Schedule::new(seconds(0), &[0]), 0, 0, 0.5);
        let mut newest = seconds(0);
        for (elapsed, more) in steps {
            (at, rows) = (at + elapsed, rows + more);
            if schedule.advance(seconds(at), &[rows]) {
                schedule.conclude(seconds(at), &[rows]);
            }
            let latest = schedule.all().last().unwrap();
            if latest.at() > newest {
                newest = latest.at();
                paid += latest.ln_weight().exp();
            }
            let allowed = f64::max(1.0, seconds(at).as_secs_f64() / PERIOD.as_secs_f64());
            prop_assert!(paid <= allowed * (1.0 + 1e-5), "{} of {}", paid, allowed);
        }
    }

    #[test]
    fn cheap_bounds_are_never_below_the_evidence(
        counts in prop::collection::vec(0_u64..5_000, 12),
        live in prop::collection::vec(0_u32..3_000, 12),
    ) {
        prop_assume!(counts.iter().sum::<u64>() > 0);
        let null = null(&counts);
        let live: Vec<f64> = live.into_iter().map(f64::from).collect();
        let evidence = null.ln_evidence(&live, f64::NEG_INFINITY);
        prop_assert!(!evidence.is_nan() && evidence < f64::INFINITY);
        prop_assert!(null.bound(&live) >= evidence - 1e-6);
        if evidence > 3.0 {
            prop_assert!((null.ln_evidence(&live, 3.0) - evidence).abs() < 1e-9);
        }
    }

    #[test]
    fn cheap_bounds_of_rates_are_never_below_the_evidence(limit in 0.0_f64..1.1, events in 0_u32..9_000, others in 0_u32..90_000) {
        let (null, events, trials) = (RateNull::new(limit), f64::from(events), f64::from(events) + f64::from(others));
        prop_assert!(null.bound(events, trials) >= null.ln_evidence(events, trials) - 1e-6);
    }

    #[test]
    fn counts_within_the_null_are_no_evidence(
        counts in prop::collection::vec(1_u64..5_000, 10),
        rows in 1_u32..1_000_000,
        tilt in -0.02_f64..0.02,
    ) {
        let null = null(&counts);
        let total = counts.iter().sum::<u64>() as f64;
        let raw: Vec<f64> = counts.iter().enumerate().map(|(group, &count)| count as f64 / total * (1.0 + tilt * (group as f64 - 4.5))).collect();
        let sum: f64 = raw.iter().sum();
        let live: Vec<f64> = raw.iter().map(|share| share / sum * f64::from(rows)).collect();
        let shares: Vec<f64> = counts.iter().map(|&count| count as f64 / total).collect();
        let found: Vec<f64> = live.iter().map(|count| count / f64::from(rows)).collect();
        prop_assume!(divergence(&shares, &found) <= null.radius);
        prop_assert!(null.ln_evidence(&live, f64::NEG_INFINITY) <= 1e-9);
    }

    #[test]
    fn a_rate_that_is_not_above_its_limit_is_no_evidence(limit in 0.0_f64..1.0, events in 0_u32..1_000, more in 0_u32..100_000) {
        let trials = f64::from(events + more);
        let evidence = RateNull::new(limit).ln_evidence(f64::from(events), trials);
        prop_assert!(!evidence.is_nan());
        if f64::from(events) <= limit * trials {
            prop_assert!(evidence <= 0.0);
        }
    }

    #[test]
    fn an_alarm_takes_any_state(state in prop::collection::vec(any::<u64>(), 0..200), place in 0_usize..80, number in any::<u64>()) {
        let mut alarm = ColumnAlarm::new(&plan(3), &reference(50, 3)).unwrap();
        alarm.resume(&state);
        alarm.look(seconds(1), &[1; 15], &[]);
        let mut spoilt = alarm.state();
        let place = place % spoilt.len();
        spoilt[place] = number;
        alarm.resume(&spoilt);
        alarm.look(seconds(2), &[500; 15], &[]);
        alarm.restart(seconds(3), &[900; 15]);
    }

    #[test]
    fn an_alarm_takes_any_counters(looks in prop::collection::vec(prop::collection::vec(0_u64..1 << 40, 15), 1..20)) {
        let mut alarm = ColumnAlarm::new(&plan(3), &reference(50, 3)).unwrap();
        let mut cells = vec![0_u64; 15];
        for (second, more) in looks.into_iter().enumerate() {
            cells.iter_mut().zip(more).for_each(|(cell, more)| *cell = cell.wrapping_add(more));
            let finding = alarm.look(seconds(second as u64), &cells, &[]);
            prop_assert!(finding.is_none_or(|finding| finding.effect.is_finite() && finding.ln_evidence.is_finite()));
        }
    }
}
