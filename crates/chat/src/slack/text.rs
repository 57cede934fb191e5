//! Text from a cluster on its way into a Slack message.
//!
//! Slack reads `<!channel>`, `<@U1>` and `<https://…|text>` wherever `<` is not escaped, and `*bold*`
//! in mrkdwn (docs.slack.dev/messaging/formatting-message-text). Here `&`, `<` and `>` are always
//! escaped; values stand in inline code or code blocks, where nothing else is read; prose goes into
//! `plain_text`. Invisible characters and those that turn the direction of writing are dropped: what
//! people read has to be what is there.

/// Length as Slack may count it: UTF-16 code units, which are never fewer than characters.
pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Whether a character may be shown. Line feeds are dealt with by the caller.
fn is_visible(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}'))
}

/// What a cut text ends with.
const CUT: char = '…';

/// At most `limit` of [`length`] after escaping, never cut within an entity.
fn bounded<'a>(pieces: impl Iterator<Item = Piece<'a>>, limit: usize) -> String {
    let mut text = String::new();
    let (mut used, mut before_cut) = (0, 0);
    for piece in pieces {
        let piece = piece.as_str();
        let size = length(piece);
        if used + size > limit {
            text.truncate(before_cut);
            if limit > 0 {
                text.push(CUT);
            }
            return text;
        }
        text.push_str(piece);
        used += size;
        // The last place from which the ellipsis still fits.
        if used < limit {
            before_cut = text.len();
        }
    }
    text
}

enum Piece<'a> {
    Entity(&'a str),
    Char([u8; 4], usize),
}

impl Piece<'_> {
    fn of(c: char) -> Self {
        let mut bytes = [0; 4];
        let size = c.encode_utf8(&mut bytes).len();
        Self::Char(bytes, size)
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Entity(text) => text,
            Self::Char(bytes, size) => {
                bytes.get(..*size).and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default()
            }
        }
    }
}

fn escaped(c: char) -> Piece<'static> {
    match c {
        '&' => Piece::Entity("&amp;"),
        '<' => Piece::Entity("&lt;"),
        '>' => Piece::Entity("&gt;"),
        c => Piece::of(c),
    }
}

/// Prose for `plain_text`, of at most `limit`; empty text becomes a dash, which Slack takes.
pub(super) fn prose(text: &str, limit: usize) -> String {
    let kept = text.trim().chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| *c == '\n' || is_visible(*c));
    or_dash(bounded(kept.map(escaped), limit))
}

/// One line for `plain_text`.
pub(super) fn line(text: &str, limit: usize) -> String {
    or_dash(bounded(one_line(text).map(escaped), limit))
}

/// Inline code for mrkdwn, of at most `limit` with its quotes: nothing in it is formatting.
pub(super) fn code(text: &str, limit: usize) -> String {
    let kept = one_line(text).map(|c| if c == '`' { '\'' } else { c });
    let inner = or_dash(bounded(kept.map(escaped), limit.saturating_sub(2)));
    format!("`{inner}`")
}

/// A line of a code block, without its line feed.
pub(super) fn block_line(text: &str, limit: usize) -> String {
    let kept = text.chars().map(|c| match c {
        '`' => '\'',
        '\n' | '\r' | '\t' => ' ',
        c => c,
    });
    bounded(kept.filter(|c| is_visible(*c)).map(escaped), limit)
}

fn one_line(text: &str) -> impl Iterator<Item = char> + '_ {
    text.trim().chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| is_visible(*c))
}

fn or_dash(text: String) -> String {
    if text.trim().is_empty() { "–".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mentions_links_and_formatting_are_text() {
        assert_eq!(prose("<!channel> & <@U1>", 100), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(code("a`*b*` <https://x|y>\nz", 100), "`a'*b*' &lt;https://x|y&gt; z`");
        assert_eq!(block_line("```\n<!here>", 100), "''' &lt;!here&gt;");
        assert_eq!(line("  \n", 100), "–");
    }

    #[test]
    fn what_turns_the_direction_or_is_not_seen_is_dropped() {
        assert_eq!(line("web\u{202E}1:gpj\u{2066}x\u{200B}y\u{7}", 100), "web1:gpjxy");
    }

    #[test]
    fn a_cut_never_splits_an_entity() {
        assert_eq!(line("ab<cd", 6), "ab…");
        assert_eq!(line("ab<cd", 7), "ab&lt;…");
        assert_eq!(line("ab<c", 7), "ab&lt;c");
        assert_eq!(line("abc", 0), "–");
    }

    proptest! {
        #[test]
        fn nothing_is_longer_than_its_limit_or_unescaped(text in ".{0,300}", limit in 3_usize..200) {
            for shown in [prose(&text, limit), line(&text, limit), code(&text, limit), block_line(&text, limit)] {
                prop_assert!(length(&shown) <= limit, "{shown:?}");
                prop_assert!(!shown.contains(['<', '>']));
                for (at, _) in shown.match_indices('&') {
                    let rest = &shown[at..];
                    prop_assert!(["&amp;", "&lt;", "&gt;"].iter().any(|entity| rest.starts_with(entity)), "{shown:?}");
                }
            }
            let code = code(&text, limit);
            prop_assert_eq!(code.matches('`').count(), 2);
            prop_assert!(!block_line(&text, limit).contains(['`', '\n', '\r']));
        }
    }
}
