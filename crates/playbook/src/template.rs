use evenkeel_model::ObjectRef;
use handlebars::template::{HelperTemplate, TemplateElement};
use handlebars::{Template, TemplateError};

use crate::suggest::{one_of, or_meant};

/// What templates can name: `{{target.kind}}`, `{{target.namespace}}`, `{{target.name}}`, the same
/// of `root`, `{{incident.id}}`, `{{incident.signals}}`, `{{cluster}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vars {
    /// The cluster's name.
    pub cluster: String,
    /// The incident's id.
    pub incident: String,
    /// Names of its firing signals.
    pub signals: Vec<String>,
    /// The object that would be acted on.
    pub target: Option<ObjectRef>,
    /// The object the incident is about.
    pub root: Option<ObjectRef>,
}

/// The variables there are.
pub(crate) const VARIABLES: [&str; 9] = [
    "target.kind",
    "target.namespace",
    "target.name",
    "root.kind",
    "root.namespace",
    "root.name",
    "incident.id",
    "incident.signals",
    "cluster",
];

impl Vars {
    fn value(&self, variable: &str) -> Option<String> {
        let object = |object: &Option<ObjectRef>, field: &str| {
            let object = object.as_ref()?;
            match field {
                "kind" => Some(object.kind.to_string()),
                "namespace" => object.namespace.clone(),
                _ => Some(object.name.clone()),
            }
        };
        match variable.split_once('.') {
            Some(("target", field)) => object(&self.target, field),
            Some(("root", field)) => object(&self.root, field),
            Some(("incident", "signals")) => Some(self.signals.join(", ")),
            Some(("incident", _)) => Some(self.incident.clone()),
            _ => Some(self.cluster.clone()),
        }
    }
}

/// Longer templates are refused: the parser recurses.
const MAX_TEMPLATE: usize = 4 * 1024;

/// Where a rendered text lands, and so how values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Within the quotes of a PromQL label matcher.
    Promql,
    /// Plain text for people.
    Text,
}

/// Why a template can't be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The template can't be meant: bad syntax, a variable there is not, a variable where it can't be escaped.
    #[error("{0}")]
    Bad(String),
    /// It names a variable that this incident has no value for.
    #[error("the template names {{{{{0}}}}}, which this incident has no value for")]
    NoValue(String),
    /// The playbook asks about an object and the incident has none.
    #[error("question {0:?} is about the target, and the incident has none")]
    NoTarget(String),
}

/// A template's parts in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Raw(String),
    Variable { name: String, lands: Lands },
}

/// Where a value lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lands {
    Text,
    Quoted { quote: char, regex: bool },
}

impl Lands {
    fn escape(self, value: &str) -> String {
        let Self::Quoted { quote, regex } = self else { return value.to_owned() };
        let value = if regex { regex_literal(value) } else { value.to_owned() };
        let mut escaped = String::with_capacity(value.len());
        for c in value.chars() {
            match c {
                '\\' => escaped.push_str("\\\\"),
                '\n' => escaped.push_str("\\n"),
                c if c == quote => escaped.extend(['\\', c]),
                c => escaped.push(c),
            }
        }
        escaped
    }
}

/// As Go's `regexp.QuoteMeta`: Prometheus' matchers are RE2.
fn regex_literal(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut text, c| {
        if r"\.+*?()|[]{}^$".contains(c) {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

/// Renders a template; a variable without a value is an error (handlebars' strict mode).
///
/// # Errors
/// [`RenderError`] for bad templates and missing values.
pub fn render(template: &str, vars: &Vars, escape: Escape) -> Result<String, RenderError> {
    compile(template, escape)?.into_iter().try_fold(String::new(), |mut text, piece| {
        match piece {
            Piece::Raw(raw) => text.push_str(&raw),
            Piece::Variable { name, lands } => {
                let value = vars.value(&name).ok_or(RenderError::NoValue(name))?;
                text.push_str(&lands.escape(&value));
            }
        }
        Ok(text)
    })
}

/// Parses a template and says where each value lands. Only plain variables are taken: no blocks,
/// helpers or partials, so that what is rendered can be told from what was written.
pub(crate) fn compile(template: &str, escape: Escape) -> Result<Vec<Piece>, RenderError> {
    if template.len() > MAX_TEMPLATE {
        return Err(RenderError::Bad(format!("expected at most {MAX_TEMPLATE} bytes, found {}", template.len())));
    }
    let parsed = Template::compile(template).map_err(|error| bad_syntax(&error))?;
    let mut promql = Promql::default();
    let mut pieces = Vec::new();
    for element in parsed.elements {
        let variable = match element {
            TemplateElement::RawString(raw) => {
                promql.read(&raw);
                pieces.push(Piece::Raw(raw));
                continue;
            }
            TemplateElement::Comment(_) => continue,
            // `{{x}}` and `{{{x}}}`: both are escaped here.
            TemplateElement::HtmlExpression(variable) | TemplateElement::Expression(variable) => variable,
            _ => return Err(only_variables()),
        };
        let name = plain_name(&variable)?;
        let lands = match escape {
            Escape::Text => Lands::Text,
            Escape::Promql => promql.lands(&name)?,
        };
        pieces.push(Piece::Variable { name, lands });
    }
    Ok(pieces)
}

fn plain_name(variable: &HelperTemplate) -> Result<String, RenderError> {
    let is_plain = variable.params.is_empty() && variable.hash.is_empty() && !variable.block;
    let name = variable.name.as_name().filter(|_| is_plain).ok_or_else(only_variables)?;
    if VARIABLES.contains(&name) {
        return Ok(name.to_owned());
    }
    let there_is = if or_meant(name, &VARIABLES).contains("mean") {
        or_meant(name, &VARIABLES)
    } else {
        format!("; there is {}", one_of(&VARIABLES))
    };
    Err(RenderError::Bad(format!("there is no variable {{{{{name}}}}}{there_is}")))
}

fn bad_syntax(error: &TemplateError) -> RenderError {
    let at = error.pos().map(|(line, _)| format!(" (line {line} of it)")).unwrap_or_default();
    RenderError::Bad(format!("bad template{at}: something between {{{{ and }}}} is no variable, or }}}} is missing"))
}

fn only_variables() -> RenderError {
    RenderError::Bad(
        "templates take plain variables such as {{target.name}}: no blocks, helpers or partials".to_owned(),
    )
}

/// How far PromQL was read: within which quotes, and whether these hold a regular expression.
#[derive(Default)]
struct Promql {
    quote: Option<char>,
    regex: bool,
    escaped: bool,
    comment: bool,
    /// What stands before a quote, white space left out: `=~` and `!~` take regular expressions.
    before: (char, char),
}

impl Promql {
    fn read(&mut self, raw: &str) {
        for c in raw.chars() {
            match self.quote {
                _ if self.comment => self.comment = c != '\n',
                Some(_) if self.escaped => self.escaped = false,
                Some('"' | '\'') if c == '\\' => self.escaped = true,
                Some(quote) if c == quote => self.quote = None,
                Some(_) => {}
                None if c == '#' => self.comment = true,
                None if matches!(c, '"' | '\'' | '`') => {
                    self.quote = Some(c);
                    self.regex = matches!(self.before, ('=' | '!', '~'));
                }
                None if c.is_whitespace() => {}
                None => self.before = (self.before.1, c),
            }
        }
    }

    fn lands(&self, name: &str) -> Result<Lands, RenderError> {
        match self.quote {
            Some(quote @ ('"' | '\'')) if !self.escaped => Ok(Lands::Quoted { quote, regex: self.regex }),
            _ => Err(RenderError::Bad(format!(
                "{{{{{name}}}}} must stand within \"double\" or 'single' quotes, where its value can be escaped"
            ))),
        }
    }
}

/// Whether a text can have come from a template, its variables standing for names: letters, digits
/// and `-_.:/, `, as objects, signals and clusters are named.
pub(crate) fn can_be_from(pieces: &[Piece], text: &str) -> bool {
    let mut reached = std::collections::BTreeSet::from([0]);
    for piece in pieces {
        reached = reached
            .into_iter()
            .flat_map(|at| match piece {
                Piece::Raw(raw) => {
                    let fits = text.get(at..).is_some_and(|rest| rest.starts_with(raw.as_str()));
                    if fits { vec![at + raw.len()] } else { Vec::new() }
                }
                Piece::Variable { .. } => ends_of_names(text, at),
            })
            .collect();
    }
    reached.contains(&text.len())
}

/// Where a name that begins at `at` may end. A dot may be escaped as regular expressions need it;
/// no other backslash is taken, so none can swallow the quote that follows.
fn ends_of_names(text: &str, at: usize) -> Vec<usize> {
    let (mut ends, mut at) = (vec![at], at);
    while let Some(rest) = text.get(at..) {
        let step = match rest.chars().next() {
            Some(c) if c.is_ascii_alphanumeric() || "-_.:/, ".contains(c) => 1,
            Some('\\') if rest.starts_with(r"\\.") => 3,
            _ => break,
        };
        at += step;
        ends.push(at);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::Kind;

    fn vars() -> Vars {
        let target = ObjectRef::namespaced(Kind::Deployment, "shop", "cart.v2");
        let signals = vec!["KubePodCrashLooping".to_owned(), "CrashLoopBackOff".to_owned()];
        Vars { cluster: "a\"b\\c".to_owned(), incident: "i-1".to_owned(), signals, target: Some(target), root: None }
    }

    #[test]
    fn values_are_escaped_for_where_they_land() {
        let promql = |template| render(template, &vars(), Escape::Promql).unwrap();
        assert_eq!(promql(r#"up{a="{{target.name}}"}"#), r#"up{a="cart.v2"}"#);
        assert_eq!(promql(r#"up{a =~ "{{target.name}}-.*"}"#), r#"up{a =~ "cart\\.v2-.*"}"#);
        assert_eq!(promql(r#"up{a!~'{{{target.name}}}', b="{{cluster}}"}"#), r#"up{a!~'cart\\.v2', b="a\"b\\c"}"#);
        assert_eq!(promql("up{a='{{cluster}}'}"), r#"up{a='a"b\\c'}"#);
        let text = render("{{ target.kind }} of {{cluster}}: {{incident.signals}}", &vars(), Escape::Text).unwrap();
        assert_eq!(text, "Deployment of a\"b\\c: KubePodCrashLooping, CrashLoopBackOff");
    }

    #[test]
    fn templates_that_cant_be_meant_are_refused() {
        let mut told = String::new();
        for (template, escape) in [
            ("{{target.nmae}}", Escape::Text),
            ("{{namespace}}", Escape::Text),
            ("{{#if target}}x{{/if}}", Escape::Text),
            ("{{lookup target \"name\"}}", Escape::Text),
            ("{{> partial}}", Escape::Text),
            ("{{target.name", Escape::Text),
            ("{{root.name}}", Escape::Text),
            ("{{target.name}}_total", Escape::Promql),
            ("up{a=`{{target.name}}`}", Escape::Promql),
            ("up # \"{{target.name}}\"", Escape::Promql),
            ("up{a=\"\\{{target.name}}\"}", Escape::Promql),
        ] {
            let result = render(template, &vars(), escape);
            told += &format!("{template}\n  {}\n", result.unwrap_or_else(|error| error.to_string()));
        }
        insta::assert_snapshot!(told);
    }

    #[test]
    fn a_template_that_is_nested_without_end_is_refused() {
        for part in ["{{#a}}", "{{a (", "((", "{{#if (", "{{[", "{{{{", "[["] {
            let longest = part.repeat(MAX_TEMPLATE / part.len());
            let _ = compile(&longest, Escape::Text);
            let _ = compile(&format!("{{{{a {longest}"), Escape::Text);
            assert!(compile(&part.repeat(MAX_TEMPLATE), Escape::Text).is_err());
        }
    }

    #[test]
    fn only_what_a_template_can_render_is_from_it() {
        let template = r#"sum(rate(errors{ns="{{target.namespace}}",pod=~"{{target.name}}-.*"}[5m]))"#;
        let pieces = compile(template, Escape::Promql).unwrap();
        assert!(can_be_from(&pieces, &render(template, &vars(), Escape::Promql).unwrap()));
        assert!(can_be_from(&pieces, r#"sum(rate(errors{ns="a",pod=~"b-.*"}[5m]))"#));
        for other in [
            r#"sum(rate(errors{ns="a",x="y",pod=~"b-.*"}[5m]))"#,
            r#"sum(rate(errors{ns="a\",pod=~"b-.*"}[5m]))"#,
            r#"sum(rate(errors{ns="a",pod=~"b|.+-.*"}[5m]))"#,
            r#"sum(rate(errors{ns="a",pod=~"b-.*"}[5m])) or secret"#,
            "up",
        ] {
            assert!(!can_be_from(&pieces, other), "{other}");
        }
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

            /// A template comes from whoever may write playbooks: it is rendered or refused.
            #[test]
            fn no_template_is_the_end(template in "([{]{1,4}[~#/^>!&*]?|[}]{1,4}|else|if|target|[.]name|[ @=|()\\[\\]\"'`\\\\a1é\\n]){0,24}") {
                for escape in [Escape::Text, Escape::Promql] {
                    let _ = render(&template, &vars(), escape);
                }
            }

            /// Whatever a value holds, it stays within the quotes it was put in, and names nothing else.
            #[test]
            fn a_value_never_leaves_its_quotes(value in any::<String>(), regex in any::<bool>(), quote in prop_oneof![Just('"'), Just('\'')]) {
                let escaped = Lands::Quoted { quote, regex }.escape(&value);
                let mut promql = Promql { quote: Some(quote), ..Promql::default() };
                promql.read(&escaped);
                prop_assert_eq!(promql.quote, Some(quote));
                prop_assert!(!promql.escaped && !escaped.contains('\n'));
                promql.read(&quote.to_string());
                prop_assert_eq!(promql.quote, None);
            }
        }
    }
}
