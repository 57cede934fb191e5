use evenkeel_model::{Playbook, PlaybookSpec};
use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::matching::ANY_SIGNAL;
use crate::yaml::{self, Document, Source};

/// One playbook, read. Its JSON, `{"name","version","spec"}`, is what the `playbooks` bucket holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Record")]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// Its version: [`PlaybookSpec::version`].
    pub version: String,
    /// The playbook.
    pub spec: PlaybookSpec,
    /// Where it came from, for problems found later.
    #[serde(skip)]
    pub source: Source,
}

/// As it stands in the bucket.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    name: String,
    version: String,
    spec: PlaybookSpec,
}

impl From<Record> for Loaded {
    fn from(Record { name, version, spec }: Record) -> Self {
        let source = Source::without_positions(format!("playbook/{name}"));
        Self { name, version, spec, source }
    }
}

impl Loaded {
    /// A playbook from its typed parts, without positions.
    ///
    /// # Errors
    /// When it can't be written as JSON, which its version needs.
    pub fn new(name: impl Into<String>, spec: PlaybookSpec) -> Result<Self, serde_json::Error> {
        let name = name.into();
        let source = Source::without_positions(format!("playbook/{name}"));
        Ok(Self { version: spec.version()?, name, spec, source })
    }

    /// Whether a signal of that name is one it is for.
    pub fn is_for(&self, signal: &str) -> bool {
        self.spec.matches.signals.iter().any(|name| name == ANY_SIGNAL || name == signal)
    }

    fn from_document(document: Document<PlaybookSpec>) -> Result<Self, Problem> {
        let Document { name, spec, source } = document;
        let version = spec.version().map_err(|error| source.problem("spec", error))?;
        Ok(Self { name, version, spec, source })
    }
}

/// Reads the playbooks of a YAML text. What is wrong with one document leaves the others; so does
/// a playbook that [`crate::check`] would refuse, which is for the caller to ask, since it also
/// compares playbooks with each other. `origin` is the file's name in problems.
pub fn load(text: &str, origin: &str) -> (Vec<Loaded>, Vec<Problem>) {
    let (documents, mut problems) = yaml::documents(text, origin, "Playbook");
    let mut loaded = Vec::new();
    for document in documents {
        match Loaded::from_document(document) {
            Ok(playbook) => loaded.push(playbook),
            Err(problem) => problems.push(problem),
        }
    }
    (loaded, problems)
}

/// As [`load`], all or nothing.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Loaded>, Vec<Problem>> {
    let (loaded, problems) = load(text, origin);
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// A playbook from the cluster, checked as one from a file is.
///
/// # Errors
/// Everything that is wrong with it; problems carry no position.
pub fn from_resource(resource: &Playbook) -> Result<Loaded, Vec<Problem>> {
    let name = resource.metadata.name.clone().unwrap_or_default();
    let source = Source::without_positions(format!("playbook/{name}"));
    let problem = |error: serde_json::Error| vec![source.problem("spec", error)];
    let loaded = Loaded::new(name, resource.spec.clone()).map_err(problem)?;
    let problems = crate::check(std::slice::from_ref(&loaded));
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    const GOOD: &str = r#"apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: bad-rollout}
spec:
  summary: Go back.
  priority: 100
  match:
    signals: [CrashLoopBackOff]
    kinds: [Deployment]
  settle: 2m
  diagnose:
    - name: recent
      changes: {of: target, within: 1h}
  when:
    - {fact: recent.podTemplateChanged, op: Equals, value: true}
    - {fact: target.lastAvailableRevision, op: Exists}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify:
        within: 10m
        hold: 3m
        that:
          - {fact: target.well, op: Equals, value: true}
    - name: hand-over
      do: {escalate: {severity: Page}}
"#;

    fn problems_of(text: &str) -> String {
        let (_, problems) = load(text, "p.yaml");
        problems.iter().fold(String::new(), |mut all, problem| {
            let _ = writeln!(all, "{problem}");
            all
        })
    }

    #[test]
    fn a_playbook_is_read_with_its_version() {
        let (loaded, problems) = load(GOOD, "p.yaml");
        assert_eq!(problems, []);
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].name, "bad-rollout");
        assert_eq!(loaded[0].version, loaded[0].spec.version().unwrap());
        let problem = loaded[0].source.problem("spec.steps[0].verify.hold", "x");
        assert_eq!((problem.line, problem.column), (22, 15));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let mut told = String::new();
        for (what, from, to) in [
            ("a misspelt field", "settle:", "setle:"),
            ("a misspelt nested field", "hold: 3m", "holds: 3m"),
            ("a foreign field", "settle: 2m", "timeout: 2m"),
            ("a misspelt action", "rollbackWorkload:", "rollbackWorklaod:"),
            ("an action there is not", "rollbackWorkload: {to: LastAvailable}", "runJob: {name: x}"),
            ("a misspelt parameter", "{to: LastAvailable}", "{too: LastAvailable}"),
            ("a misspelt operator", "op: Exists", "op: exist"),
            ("an operator there is not", "op: Exists", "op: Matches"),
            ("a kind there is not", "[Deployment]", "[Deploymnt]"),
            ("a bad length of time", "settle: 2m", "settle: two minutes"),
            ("a number for a list", "signals: [CrashLoopBackOff]", "signals: 5"),
            ("a text for a number", "priority: 100", "priority: high"),
            ("a list for a map", "changes: {of: target, within: 1h}", "changes: [target]"),
            ("a missing field", "  priority: 100\n", ""),
            ("a missing nested field", "        within: 10m\n", ""),
            ("a field twice", "settle: 2m", "settle: 2m\n  settle: 3m"),
            ("no metadata", "metadata: {name: bad-rollout}\n", ""),
            ("a bad name", "bad-rollout", "Bad_Rollout"),
            ("a misspelt metadata field", "metadata: {name: bad-rollout}", "metadata: {name: a, lables: {}}"),
            ("a bad label", "metadata: {name: bad-rollout}", "metadata: {name: a, labels: {a: [b]}}"),
            ("another kind", "kind: Playbook", "kind: Playbok"),
            ("a foreign kind", "kind: Playbook", "kind: ConfigMap"),
            ("no kind", "kind: Playbook\n", ""),
            ("another version", "v1alpha1", "v1"),
            ("a tab", "  settle: 2m", "\tsettle: 2m"),
            ("an open bracket", "[Deployment]", "[Deployment"),
            ("an unknown anchor", "settle: 2m", "settle: *two"),
            ("yes for true", "value: true", "value: yes"),
            ("a second top-level field", "spec:\n", "specs: {}\nspec:\n"),
        ] {
            assert!(GOOD.contains(from), "{what}");
            let _ = write!(told, "{what}\n  {}", problems_of(&GOOD.replacen(from, to, 1)));
            if !told.ends_with('\n') {
                told.push('\n');
            }
        }
        insta::assert_snapshot!(told);
    }

    #[test]
    fn all_mistakes_of_a_document_are_told_and_none_that_follows_from_another() {
        let mut text = GOOD.to_owned();
        for (from, to) in [
            ("priority:", "prioritty:"),
            ("[Deployment]", "[Deploymnt, StatefulSet, Nod]"),
            ("op: Exists", "op: exist"),
            ("settle: 2m", "settle: two minutes"),
            ("rollbackWorkload:", "rollbackWorklaod:"),
            ("within: 10m", "within: ten minutes"),
        ] {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        insta::assert_snapshot!(problems_of(&text));
    }

    #[test]
    fn a_broken_document_leaves_the_others() {
        let second = GOOD.replace("bad-rollout", "second");
        let text = format!("{GOOD}---\nkind: [\n---\n{}---\n{second}", GOOD.replace("settle", "setle"));
        let (loaded, problems) = load(&text, "p.yaml");
        assert_eq!(loaded.iter().map(|playbook| playbook.name.as_str()).collect::<Vec<_>>(), ["bad-rollout", "second"]);
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [28, 39]);
        assert!(parse(&text, "p.yaml").is_err());
    }

    #[test]
    fn what_is_written_to_exhaust_the_reader_is_refused() {
        let bomb = "kind: Playbook\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                    c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                    e: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
        let deep = format!("kind: {}{}", "[".repeat(500), "]".repeat(500));
        let blocks = (0..200).fold(String::new(), |text, depth| format!("{text}{}a:\n", " ".repeat(depth)));
        let long = format!("# {}", "x".repeat(yaml::MAX_BYTES));
        let many = "---\na: 1\n".repeat(yaml::MAX_DOCUMENTS + 1);
        let told: String = [bomb, &deep, &blocks, &long, &many].map(problems_of).concat();
        insta::assert_snapshot!(told);
    }

    #[test]
    fn manifests_of_others_in_the_same_file_are_left_alone() {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n---\n{GOOD}");
        assert_eq!(problems_of(&text), "");
        assert_eq!(load(&text, "p.yaml").0.len(), 1);
        let slip = format!("apiVersion: v1\nkind: Playbok\n---\n{GOOD}");
        assert!(problems_of(&slip).starts_with("p.yaml:2:7: kind: expected Playbook, ActionPolicy or Simulation"));
    }

    #[test]
    fn what_kubectl_prints_can_be_read() {
        let metadata = "metadata: {name: a, uid: u, resourceVersion: '7', generation: 1, \
                        creationTimestamp: 2026-01-01T00:00:00Z, managedFields: [{manager: kubectl}]}";
        assert_eq!(problems_of(&GOOD.replace("metadata: {name: bad-rollout}", metadata)), "");
    }

    #[test]
    fn the_bucket_holds_a_playbook_as_it_was_loaded() {
        let loaded = parse(GOOD, "p.yaml").unwrap().remove(0);
        let json = serde_json::to_string(&loaded).unwrap();
        let back: Loaded = serde_json::from_str(&json).unwrap();
        assert_eq!((&back.name, &back.version, &back.spec), (&loaded.name, &loaded.version, &loaded.spec));
        assert_eq!(back.source.problem("spec", "x").to_string(), "playbook/bad-rollout: spec: x");
        assert!(serde_json::from_str::<Loaded>(&json.replacen("\"name\"", "\"nmae\"", 1)).is_err());
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

            /// However a file is damaged, it is read or refused with places that are in it.
            #[test]
            fn a_damaged_file_is_never_the_end(
                cuts in proptest::collection::vec((0..GOOD.len(), 0..40_usize, "[-:{}\\[\\]&*!|>'\"%@`#,?\\n\\t a1é]{0,6}"), 1..4),
            ) {
                let mut text = GOOD.to_owned();
                for (at, length, new) in cuts {
                    let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap();
                    let cut = boundary(at)..boundary(at + length);
                    text.replace_range(cut, &new);
                    if text.is_empty() {
                        break;
                    }
                }
                let (loaded, mut problems) = load(&text, "p.yaml");
                problems.extend(crate::check(&loaded));
                let lines = text.split('\n').count() as u64 + 1;
                for problem in problems {
                    prop_assert!(problem.line <= lines, "{problem}\n{text}");
                    prop_assert!(!problem.to_string().chars().any(char::is_control));
                }
            }
        }
    }
}
