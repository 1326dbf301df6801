//! Whether something stays as it is, or grows without an end.

/// What may be added to what was there after the beginning, as a part of it.
const PART: f64 = 0.1;

/// Parts of a run, of which the first is the beginning.
const PARTS: usize = 10;

/// The middle one; 0 of nothing.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The middle values of the second tenth and of the last one.
pub fn ends(values: &[f64]) -> (f64, f64) {
    let tenth = (values.len() / PARTS).max(1);
    let after = values.get(tenth..).unwrap_or_default();
    let first = after.get(..tenth).unwrap_or(after);
    let last = after.get(after.len().saturating_sub(tenth)..);
    (median(first), median(last.unwrap_or_default()))
}

/// Says so where the last tenth has more than the second one, a tenth of that and `margin`.
pub fn grown(what: &str, unit: &str, values: &[f64], margin: f64) -> Option<String> {
    let (first, last) = ends(values);
    let most = first * (1.0 + PART) + margin;
    (last > most).then(|| {
        format!("{what}: {first:.1}{unit} after the first tenth, {last:.1}{unit} in the last, more than {most:.1}{unit}")
    })
}
