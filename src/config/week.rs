//! Hours of the week as people write them: `"Fri 16:00-Mon 08:00"`, `"Sat"`, `"22:00-06:00"`.
//!
//! Whole hours in UTC, because that is what can be said exactly of a week and compared on every machine. Ranges may go
//! past the end of the week or of the day and may overlap; what comes out is each hour once.
//!
//! Invariant: ranges that are read lie within the week, in order and apart, and leave an hour free.

use super::problem::ProblemKind;
use super::tree::Value;
use super::values::{Parsed, list, refused};

/// Hours of a week.
const WEEK: usize = 168;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// One end of a range: a day, an hour, or both.
#[derive(Clone, Copy)]
struct Moment {
    day: Option<usize>,
    hour: Option<usize>,
}

/// Ranges of hours from Monday 00:00 on, as first hour and count.
pub(super) fn hours(value: &Value) -> Parsed<Vec<(u16, u16)>> {
    let expected = "an array of hours of the week, UTC, such as [\"Fri 16:00-Mon 08:00\", \"Sat\", \"22:00-06:00\"]";
    let ranges = list(expected, value, |item| item.as_text().and_then(ranges).ok_or_else(|| refused(expected, item)))?;
    let mut taken = [false; WEEK];
    for (first, count) in ranges.into_iter().flatten() {
        (first..first + count).for_each(|hour| taken[hour % WEEK] = true);
    }
    if taken.iter().all(|taken| *taken) {
        let expected = "an hour of the week that is left free".to_owned();
        return Err(ProblemKind::Invalid { expected, found: "none".to_owned() });
    }
    Ok(runs(&taken))
}

/// The runs of hours that are taken.
fn runs(taken: &[bool; WEEK]) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for (hour, _) in (0_u16..).zip(taken).filter(|(_, taken)| **taken) {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == hour => *count += 1,
            _ => runs.push((hour, 1)),
        }
    }
    runs
}

/// What one text stands for: a range, or one of each day. A range may go past the end of the week.
fn ranges(text: &str) -> Option<Vec<(usize, usize)>> {
    let Some((from, to)) = text.split_once('-') else {
        // A day alone is the whole of it.
        let Moment { day: Some(day), hour: None } = moment(text)? else { return None };
        return Some(vec![(day * 24, 24)]);
    };
    let span = |first: usize, end: usize, period: usize| match (end + period - first) % period {
        0 => None,
        count => Some((first, count)),
    };
    match (moment(from)?, moment(to)?) {
        (Moment { day: Some(from), hour: None }, Moment { day: Some(to), hour: None }) => {
            let days = (to + 7 - from) % 7 + 1;
            Some(vec![(from * 24, days * 24)])
        }
        (Moment { day: Some(from), hour: Some(first) }, Moment { day: Some(to), hour: Some(end) }) => {
            Some(vec![span(from * 24 + first, to * 24 + end, WEEK)?])
        }
        (Moment { day: Some(day), hour: Some(first) }, Moment { day: None, hour: Some(end) }) => {
            Some(vec![span(day * 24 + first, day * 24 + end, 24)?])
        }
        (Moment { day: None, hour: Some(first) }, Moment { day: None, hour: Some(end) }) => {
            let (first, count) = span(first, end, 24)?;
            Some((0..7).map(|day| (day * 24 + first, count)).collect())
        }
        _ => None,
    }
}

/// `Fri 16:00`, `Fri` or `16:00`; `24:00` is the end of a day.
fn moment(text: &str) -> Option<Moment> {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    if words.next().is_some() {
        return None;
    }
    let day = DAYS.iter().position(|day| first.eq_ignore_ascii_case(day));
    match (day, second) {
        (Some(_), None) => Some(Moment { day, hour: None }),
        (Some(_), Some(time)) => Some(Moment { day, hour: Some(hour(time)?) }),
        (None, None) => Some(Moment { day, hour: Some(hour(first)?) }),
        (None, Some(_)) => None,
    }
}

fn hour(text: &str) -> Option<usize> {
    let digits = text.strip_suffix(":00").filter(|digits| digits.len() == 2)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?.filter(|hour| *hour <= 24)
}

#[cfg(test)]
mod tests {
    use super::super::problem::Origin;
    use super::super::tree::Entry;
    use super::*;

    fn read(texts: &[&str]) -> Result<Vec<(u16, u16)>, String> {
        let entry = |text: &&str| Entry { origin: Origin::Line(1), value: Value::Text((*text).to_owned()) };
        hours(&Value::List(texts.iter().map(entry).collect())).map_err(|problem| problem.to_string())
    }

    #[test]
    fn days_hours_and_ranges_of_both_are_hours_of_the_week() {
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&["Mon"]), Ok(vec![(0, 24)]));
        assert_eq!(read(&["sat-SUN"]), Ok(vec![(120, 48)]));
        assert_eq!(read(&["Fri 16:00-Mon 08:00"]), Ok(vec![(0, 8), (112, 56)]), "past the end of the week");
        assert_eq!(read(&["Tue 09:00-17:00"]), Ok(vec![(33, 8)]));
        assert_eq!(read(&["Sun 22:00-06:00"]), Ok(vec![(0, 6), (166, 2)]));
        assert!(read(&["Wed 00:00-24:00"]).is_err(), "a whole day is said as a day");
        let nights = read(&["22:00-06:00"]).unwrap();
        assert_eq!((nights.len(), nights[0], nights[7]), (8, (0, 6), (166, 2)));
        assert_eq!(nights.iter().map(|(_, count)| count).sum::<u16>(), 7 * 8);
    }

    #[test]
    fn hours_that_are_named_twice_count_once() {
        assert_eq!(read(&["Sat", "Fri 16:00-Sat 02:00", "Sun 00:00-04:00"]), Ok(vec![(112, 36)]));
    }

    #[test]
    fn what_is_no_range_is_refused_and_so_is_a_week_without_a_free_hour() {
        for wrong in [
            "",
            "Frei",
            "16:30-17:00",
            "1:00-2:00",
            "25:00-26:00",
            "08:00-08:00",
            "Mon-08:00",
            "Mon 08:00",
            "a-b-c",
            "+1:00-02:00",
        ] {
            let problem = read(&[wrong]).unwrap_err();
            assert!(problem.contains("Fri 16:00-Mon 08:00"), "{wrong}: {problem}");
        }
        assert!(read(&["Mon-Sun"]).unwrap_err().contains("left free"));
        assert!(read(&["00:00-12:00", "12:00-24:00"]).unwrap_err().contains("left free"));
    }
}
