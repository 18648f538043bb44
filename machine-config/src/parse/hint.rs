//! Guesses what a word was meant to be.

/// A hint for an unknown key among those that may stand there.
pub(super) fn key(key: &str, expected: &[&str]) -> String {
    match closest(key, expected) {
        Some(word) => format!("did you mean `{word}`?"),
        None if expected.is_empty() => "nothing may stand here".into(),
        None => format!("the keys here are {}", expected.join(", ")),
    }
}

/// A hint for an unknown word of a fixed set; empty when nothing is close, since the message lists them all.
pub(super) fn word(word: &str, expected: &[&str]) -> String {
    closest(word, expected).map(|word| format!("did you mean `{word}`?")).unwrap_or_default()
}

/// The word that takes the fewest slips of the finger, if these are few for its length.
fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace(['_', '-'], "");
    let slips = |candidate: &&str| distance(&word, &candidate.to_lowercase());
    let best = candidates.iter().copied().min_by_key(slips)?;
    let few = (best.chars().count() / 3).max(1);
    (slips(&best) <= few).then_some(best)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words (restricted Damerau-Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_recognised() {
        let keys = ["name", "mac", "dhcp4", "addresses", "routes", "mtu", "ignore"];
        for (typed, meant) in
            [("adresses", "addresses"), ("dchp4", "dhcp4"), ("MTU", "mtu"), ("route", "routes"), ("nmae", "name")]
        {
            assert_eq!(closest(typed, &keys), Some(meant), "{typed}");
        }
        assert_eq!(closest("clientca", &["clientCa"]), Some("clientCa"));
        assert_eq!(closest("node_ip", &["nodeIp"]), Some("nodeIp"));
    }

    #[test]
    fn other_words_are_not_guessed_at() {
        assert_eq!(closest("gateway", &["name", "mac", "mtu"]), None);
        assert_eq!(key("gateway", &["name", "mac"]), "the keys here are name, mac");
        assert_eq!(key("x", &[]), "nothing may stand here");
    }

    #[test]
    fn a_monstrous_key_costs_little() {
        assert_eq!(closest(&"x".repeat(100_000), &["name"]), None);
    }
}
