/// One document of a text, with the number of lines before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) text: &'a str,
    pub(super) lines_before: u64,
}

/// Splits a text at its document markers, so that a document that can't be parsed leaves the
/// others. A line that begins with `---` or `...` and white space is a marker wherever it stands,
/// also within block and quoted scalars (YAML 1.2.2, 9.1.2, `c-forbidden`). Documents of nothing
/// but comments are left out.
pub(super) fn split(text: &str) -> Vec<Chunk<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut chunks = Vec::new();
    let (mut start, mut lines_before, mut at, mut line) = (0, 0, 0, 0);
    for full in text.split_inclusive('\n') {
        if is_marker(full, "---") || is_marker(full, "...") {
            chunks.push((start, at, lines_before));
            // The end marker belongs to no document; after `---` content may follow on the same line.
            (start, lines_before) = if is_marker(full, "...") { (at + full.len(), line + 1) } else { (at, line) };
        }
        at += full.len();
        line += 1;
    }
    chunks.push((start, at, lines_before));
    chunks
        .into_iter()
        .filter_map(|(start, end, lines_before)| Some(Chunk { text: text.get(start..end)?, lines_before }))
        .filter(|chunk| !is_blank(chunk.text))
        .collect()
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim();
        let line = line.strip_prefix("---").unwrap_or(line).trim_start();
        line.is_empty() || line.starts_with('#')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_place_in_the_file() {
        let text = "# head\n---\na: 1\n--- # two\nb: |\n  text\n...\n---\n# nothing\n---\nc: 3";
        let chunks: Vec<_> = split(text).into_iter().map(|chunk| (chunk.lines_before, chunk.text)).collect();
        assert_eq!(chunks, [(1, "---\na: 1\n"), (3, "--- # two\nb: |\n  text\n"), (9, "---\nc: 3")]);
    }

    #[test]
    fn dashes_within_a_line_or_longer_are_no_marker() {
        assert_eq!(split("a: ---\nb: x\n----\n").len(), 1);
        assert_eq!(split("").len(), 0);
    }
}
