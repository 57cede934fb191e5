//! From a playbook's diagnose part to questions for the observer.

use evenkeel_model::{Diagnose, Query};

use crate::template::{can_be_from, compile, render};
use crate::{Escape, Loaded, RenderError, Vars};

/// One question of a playbook, rendered for an incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The name its facts go by.
    pub name: String,
    /// The question.
    pub query: Query,
    /// Whether the playbook may go on when the source can't be asked.
    pub optional: bool,
}

/// The questions of a playbook's diagnose part. The target itself (`Query::Object`) is not among
/// them. For an incident about no object, optional questions about the target are left out.
///
/// # Errors
/// When a question needs what the incident has no value for: a person has to look then.
pub fn for_playbook(playbook: &Loaded, vars: &Vars) -> Result<Vec<Asked>, RenderError> {
    let mut asked = Vec::new();
    for diagnose in &playbook.spec.diagnose {
        match query(diagnose, vars) {
            Ok(query) => asked.push(Asked { name: diagnose.name.clone(), query, optional: diagnose.optional }),
            Err(RenderError::NoTarget(_) | RenderError::NoValue(_)) if diagnose.optional => {}
            Err(error) => return Err(error),
        }
    }
    Ok(asked)
}

fn query(diagnose: &Diagnose, vars: &Vars) -> Result<Query, RenderError> {
    let object = || vars.target.clone().ok_or_else(|| RenderError::NoTarget(diagnose.name.clone()));
    match diagnose {
        Diagnose { changes: Some(lately), .. } => Ok(Query::Changes { object: object()?, within: lately.within }),
        Diagnose { events: Some(lately), .. } => Ok(Query::Events { object: object()?, within: lately.within }),
        Diagnose { logs: Some(logs), .. } => Ok(Query::Logs { object: object()?, lines: logs.lines }),
        Diagnose { promql: Some(template), .. } => {
            Ok(Query::Promql { expression: render(template, vars, Escape::Promql)? })
        }
        Diagnose { name, .. } => Err(RenderError::Bad(format!("the question {name:?} asks nothing"))),
    }
}

/// Whether a playbook asks this question of some object; the object itself and its owners may
/// always be asked for. PromQL is compared with the playbook's template, its variables standing
/// for any name.
pub fn declares(playbook: &Loaded, query: &Query) -> bool {
    let any = |is_asked: &dyn Fn(&Diagnose) -> bool| playbook.spec.diagnose.iter().any(is_asked);
    match query {
        Query::Object { .. } | Query::Owners { .. } => true,
        Query::Events { within, .. } => any(&|asked| asked.events.as_ref().is_some_and(|e| *within <= e.within)),
        Query::Changes { within, .. } => any(&|asked| asked.changes.as_ref().is_some_and(|c| *within <= c.within)),
        Query::Logs { lines, .. } => any(&|asked| asked.logs.as_ref().is_some_and(|l| *lines <= l.lines)),
        Query::Promql { expression } => any(&|asked| {
            let pieces = asked.promql.as_ref().and_then(|template| compile(template, Escape::Promql).ok());
            pieces.is_some_and(|pieces| can_be_from(&pieces, expression))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use evenkeel_model::{Kind, ObjectRef, Span};

    const TEXT: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: p}
spec:
  summary: s
  priority: 1
  match: {signals: [S]}
  diagnose:
    - {name: recent, changes: {of: target, within: 1h}}
    - {name: happened, events: {of: target, within: 30m}, optional: true}
    - {name: log, logs: {lines: 50}, optional: true}
    - {name: errors, promql: 'sum(rate(errors{namespace="{{target.namespace}}"}[5m]))', optional: true}
  steps: [{name: a, do: {escalate: {severity: Page}}}]
"#;

    fn playbook() -> Loaded {
        parse(TEXT, "p.yaml").unwrap().remove(0)
    }

    fn about(target: Option<ObjectRef>) -> Vars {
        Vars { cluster: "c".to_owned(), incident: "i-1".to_owned(), signals: Vec::new(), root: target.clone(), target }
    }

    #[test]
    fn each_question_is_asked_about_the_target_and_is_one_the_playbook_declares() {
        let target = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        let asked = for_playbook(&playbook(), &about(Some(target.clone()))).unwrap();
        let told: Vec<_> =
            asked.iter().map(|asked| (asked.name.as_str(), asked.query.token(), asked.optional)).collect();
        assert_eq!(
            told,
            [
                ("recent", "changes", false),
                ("happened", "events", true),
                ("log", "logs", true),
                ("errors", "promql", true)
            ]
        );
        assert!(asked.iter().all(|asked| declares(&playbook(), &asked.query)));
        assert!(declares(&playbook(), &Query::Object { object: target }));
    }

    #[test]
    fn nothing_further_back_longer_or_else_is_declared() {
        let object = ObjectRef::namespaced(Kind::Pod, "bank", "vault");
        for query in [
            Query::Changes { object: object.clone(), within: Span::hours(2) },
            Query::Events { object: object.clone(), within: Span::hours(1) },
            Query::Logs { object, lines: 51 },
            Query::Promql { expression: "up".to_owned() },
            Query::Promql { expression: r#"sum(rate(errors{namespace="a"}[5m])) or secrets"#.to_owned() },
        ] {
            assert!(!declares(&playbook(), &query), "{query:?}");
        }
    }

    #[test]
    fn an_incident_about_nothing_is_asked_only_what_can_be_left_out() {
        let optional =
            TEXT.replace("changes: {of: target, within: 1h}", "changes: {of: target, within: 1h}, optional: true");
        let playbook = parse(&optional, "p.yaml").unwrap().remove(0);
        assert_eq!(for_playbook(&playbook, &about(None)).unwrap(), []);
        let error = for_playbook(&self::playbook(), &about(None)).unwrap_err();
        assert_eq!(error.to_string(), "question \"recent\" is about the target, and the incident has none");
        // A node has no namespace.
        let asked = for_playbook(&playbook, &about(Some(ObjectRef::cluster_scoped(Kind::Node, "n")))).unwrap();
        assert!(asked.iter().all(|asked| asked.name != "errors"));
    }
}
