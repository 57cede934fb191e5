use std::fmt::Write as _;

use schemars::JsonSchema;
use serde_json::Value;

use super::keys::{KeyDoc, keys};

/// The keys of a configuration type as Markdown: a table a section.
pub fn markdown<T: JsonSchema>() -> String {
    let mut out = String::new();
    let mut section: Option<Option<&str>> = None;
    let all = keys::<T>();
    let top = |key: &KeyDoc| key.path.len() == 1;
    for key in all.iter().filter(|key| top(key)).chain(all.iter().filter(|key| !top(key))) {
        let of = if top(key) { None } else { key.path.first().map(String::as_str) };
        if section != Some(of) {
            section = Some(of);
            let title = of.map_or("Top".to_owned(), |name| format!("`{name}`"));
            // Writing to a String does not fail.
            let _ = write!(
                out,
                "{}## {title}\n\n| key | what to write | default | variable | what it is for |\n|---|---|---|---|---|\n",
                if out.is_empty() { "" } else { "\n" }
            );
        }
        let variable = key.variable().map_or_else(String::new, |name| format!("`{name}`"));
        let default = key.default.as_ref().map(shown).filter(|text| !text.is_empty());
        let default = default.map_or_else(String::new, |text| format!("`{text}`"));
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {variable} | {} |",
            key.key(),
            cell(&key.kind),
            cell(&default),
            cell(&key.description)
        );
    }
    out
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ")
}
