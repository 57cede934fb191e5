use std::fmt::Write as _;

/// `; did you mean "x"?` for the nearest of the words there are, else which there are, when they
/// are few.
pub fn or_meant<S: AsRef<str>>(found: &str, known: &[S]) -> String {
    if let Some(word) = nearest(found, known) {
        return format!("; did you mean {word:?}?");
    }
    if known.is_empty() || known.len() > 12 { String::new() } else { format!("; there is {}", listed(known, "and")) }
}

/// The word that was probably meant: few letters away, or the same but for case.
pub fn nearest<'a, S: AsRef<str>>(found: &str, known: &'a [S]) -> Option<&'a str> {
    let lower = found.to_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&lower, &word.to_lowercase());
    let (away, word) = known.iter().map(|word| (distance(word.as_ref()), word.as_ref())).min()?;
    // Of a dotted name it is the last part that is misspelt.
    let length = found.rsplit('.').next().unwrap_or(found).chars().count();
    (away <= (length / 3).max(1)).then_some(word)
}

/// `a, b or c`.
pub(crate) fn one_of<S: AsRef<str>>(words: &[S]) -> String {
    listed(words, "or")
}

fn listed<S: AsRef<str>>(words: &[S], joiner: &str) -> String {
    let mut text = String::new();
    for (n, word) in words.iter().enumerate() {
        let between = if n == 0 {
            ""
        } else if n + 1 == words.len() {
            joiner
        } else {
            ","
        };
        match between {
            "" => {}
            "," => text.push_str(", "),
            joiner => {
                let _ = write!(text, " {joiner} ");
            }
        }
        text.push_str(word.as_ref());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        let known = ["verify", "undo", "recurWithin"];
        assert_eq!(nearest("verfiy", &known), Some("verify"));
        assert_eq!(nearest("recurwithin", &known), Some("recurWithin"));
        assert_eq!(nearest("timeout", &known), None);
        assert_eq!(or_meant("timeout", &known), "; there is verify, undo and recurWithin");
    }
}
