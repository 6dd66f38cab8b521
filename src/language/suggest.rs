//! "Did you mean": the nearest of the words that would be right.

/// The candidate that is most likely meant, if one is near enough: the fewest changes, and more of them for longer words.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let allowed = match written.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Swapped neighbours count as one change. A word that is only continued (`sched`, `schedule`) is near too.
fn distance(written: &str, candidate: &str) -> usize {
    let changes = strsim::damerau_levenshtein(written, candidate);
    if written.chars().count() >= 3 && candidate.starts_with(written) { changes.min(1) } else { changes }
}

/// Words in backticks with commas, `or` before the last: "`a`, `b` or `c`".
pub fn alternatives<S: AsRef<str>>(words: &[S]) -> String {
    listed(words, "or")
}

/// The same with `and`.
pub fn all_of<S: AsRef<str>>(words: &[S]) -> String {
    listed(words, "and")
}

fn listed<S: AsRef<str>>(words: &[S], joint: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {joint} {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_far_ones_are_not() {
        assert_eq!(nearest("epoch", ["epochs", "steps"]), Some("epochs"));
        assert_eq!(nearest("sched", ["schedule", "seed"]), Some("schedule"));
        assert_eq!(nearest("rnak", ["rank", "alpha"]), Some("rank"));
        assert_eq!(nearest("LR", ["lr"]), Some("lr"));
        assert_eq!(nearest("q", ["lr", "epochs"]), None);
        assert_eq!(nearest("banana", ["rank", "alpha"]), None);
    }

    #[test]
    fn alternatives_are_listed_as_a_sentence_does() {
        assert_eq!(alternatives(&["a"]), "`a`");
        assert_eq!(alternatives(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
