//! "Did you mean": the known name nearest to a misspelt one.
//!
//! Invariant: a suggestion is at most a third of its letters away, so that it is likelier a help than a riddle.

/// The nearest of the known names, if one is near enough; of equally near ones the first.
pub(super) fn closest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let near = known.into_iter().map(|candidate| (distance(name, candidate), candidate));
    let (steps, candidate) = near.min_by_key(|(steps, _)| *steps)?;
    (steps <= (candidate.chars().count() / 3).max(1)).then_some(candidate)
}

/// How many letters have to be inserted, removed, replaced or exchanged with their neighbour to make one word the other
/// (optimal string alignment, <https://en.wikipedia.org/wiki/Damerau%E2%80%93Levenshtein_distance>). Case is ignored.
fn distance(one: &str, other: &str) -> usize {
    let letters = |word: &str| word.chars().flat_map(char::to_lowercase).collect::<Vec<char>>();
    let (one, other) = (letters(one), letters(other));
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut steps = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                steps = steps.min(rows[i - 2][j - 2] + 1);
            }
            row.push(steps);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits() {
        for (one, other, steps) in
            [("", "", 0), ("", "abc", 3), ("http", "htpt", 1), ("HTTP", "http", 0), ("window", "widow", 1)]
        {
            assert_eq!((distance(one, other), distance(other, one)), (steps, steps), "{one} {other}");
        }
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["http", "admin", "max_body"];
        assert_eq!(closest("htttp", known), Some("http"));
        assert_eq!(closest("maxbody", known), Some("max_body"));
        assert_eq!(closest("listen", known), None);
        assert_eq!(closest("", known), None);
        assert_eq!(closest("http", []), None);
    }
}
