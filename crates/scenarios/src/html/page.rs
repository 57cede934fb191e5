use std::fmt::Write as _;

/// The text with what HTML would take for markup written out: for elements and quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters have no place in a page, and terminals act on them.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// How something is marked; always beside a word that says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As text.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// As it should not be.
    Bad,
    /// To be looked at.
    Busy,
    /// Beside the point.
    Faint,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Busy => "busy",
            Self::Faint => "faint",
        }
    }
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// Its text.
    pub text: String,
    /// How it is marked.
    pub tone: Tone,
    /// Whether it is a number, to stand at the right.
    pub number: bool,
    /// The id of a section to go to.
    pub link: Option<String>,
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A number; a zero stands back.
    pub fn number(number: u64) -> Self {
        let tone = if number == 0 { Tone::Faint } else { Tone::Plain };
        Self { text: number.to_string(), tone, number: true, link: None }
    }

    /// Marked so.
    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// A link to a section of the page.
    #[must_use]
    pub fn link(mut self, id: impl Into<String>) -> Self {
        self.link = Some(id.into());
        self
    }
}

const STYLE: &str = include_str!("page.css");

/// A page being written. Everything given to it is escaped.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: format!("<h1>{}</h1>\n", escape(title)) }
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
    }

    /// A heading with a place to link to.
    pub fn heading(&mut self, id: &str, text: &str) {
        let _ = writeln!(self.body, "<h2 id=\"{}\">{}</h2>", escape(id), escape(text));
    }

    /// Figures side by side: a number, what it counts, how it is marked.
    pub fn figures(&mut self, figures: &[(String, &str, Tone)]) {
        self.body.push_str("<dl class=\"figures\">\n");
        for (number, what, tone) in figures {
            let _ = writeln!(
                self.body,
                "<div class=\"{}\"><dt>{}</dt><dd>{}</dd></div>",
                tone.class(),
                escape(what),
                escape(number)
            );
        }
        self.body.push_str("</dl>\n");
    }

    /// A table. Wide ones scroll by themselves.
    pub fn table(&mut self, caption: &str, headings: &[&str], rows: &[Vec<Cell>]) {
        let _ = write!(
            self.body,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table>\n<caption>{0}</caption>\n<thead><tr>",
            escape(caption)
        );
        for (n, heading) in headings.iter().enumerate() {
            let number = rows.first().and_then(|row| row.get(n)).is_some_and(|cell| cell.number);
            let class = if number { " class=\"number\"" } else { "" };
            let _ = write!(self.body, "<th scope=\"col\"{class}>{}</th>", escape(heading));
        }
        self.body.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (n, cell) in row.iter().enumerate() {
                let mut class = cell.tone.class().to_owned();
                if cell.number {
                    class.push_str(" number");
                }
                let class = if class.is_empty() { String::new() } else { format!(" class=\"{}\"", class.trim()) };
                let text = escape(&cell.text);
                let text = match &cell.link {
                    Some(id) => format!("<a href=\"#{}\">{text}</a>", escape(id)),
                    None => text,
                };
                let _ = if n == 0 {
                    write!(self.body, "<th scope=\"row\"{class}>{text}</th>")
                } else {
                    write!(self.body, "<td{class}>{text}</td>")
                };
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody>\n</table></div>\n");
    }

    /// A list of lines.
    pub fn list(&mut self, lines: &[String], tone: Tone) {
        let _ = writeln!(self.body, "<ul class=\"{}\">", tone.class());
        for line in lines {
            let _ = writeln!(self.body, "<li>{}</li>", escape(line));
        }
        self.body.push_str("</ul>\n");
    }

    /// A command to be copied.
    pub fn command(&mut self, command: &str) {
        let _ = writeln!(self.body, "<pre><code>{}</code></pre>", escape(command));
    }

    /// Lines that are folded away until they are asked for.
    pub fn folded(&mut self, summary: &str, inside: impl FnOnce(&mut Self)) {
        let _ = writeln!(self.body, "<details><summary>{}</summary>", escape(summary));
        inside(self);
        self.body.push_str("</details>\n");
    }

    /// What was made for a page elsewhere in this room, and is escaped already.
    pub(super) fn raw(&mut self, markup: &str) {
        self.body.push_str(markup);
    }

    /// The whole file.
    pub fn finish(self) -> String {
        let title = escape(&self.title);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
            self.body
        )
    }
}
