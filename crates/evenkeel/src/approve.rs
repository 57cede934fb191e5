//! `evenkeel approve` and `evenkeel deny`: one person's answer, under the identity of their kubeconfig.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use evenkeel_model::{
    APPROVE_GROUP, APPROVE_RESOURCE, APPROVE_VERB, Approval, ApprovalDecision, ApprovalSpec, Asked, Clock as _, Phase,
    Remediation, RemediationStatus, Tier,
};
use evenkeel_runtime::WallClock;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::{Api, Client, Resource as _, ResourceExt as _};

use crate::args::DecideArgs;
use crate::get::config;
use crate::{connect, output};

/// The longest one request may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long is waited for the gateway to say what became of it, and how often it is looked at.
const WAIT: (Duration, Duration) = (Duration::from_secs(15), Duration::from_millis(300));
/// The most that an Approval holds.
const MOST_GROUPS: usize = 256;

/// Who the API server takes us for.
struct Person {
    name: String,
    groups: Vec<String>,
}

pub(crate) async fn run(args: &DecideArgs, decision: ApprovalDecision) -> Result<()> {
    let config = config(&args.client)?;
    let client = connect::writer(&config.kubernetes, TIMEOUT).await?;
    let remediations: Api<Remediation> = Api::namespaced(client.clone(), &config.namespace);
    let remediation = remediations.get(&args.name).await.map_err(connect::said).with_context(|| {
        let namespace = &config.namespace;
        format!("reading remediation {} in namespace {namespace}; `evenkeel get remediations` lists them", args.name)
    })?;
    let asked = asked(&remediation)?;
    read(asked, decision, args.digest.as_deref(), std::io::stdin().is_terminal(), &args.name)?;
    let person = who(&client).await?;
    allowed(&remediation, asked, &person, decision)?;
    may(&client, asked.tier, remediation.spec.proposal.target.namespace.as_deref(), &person.name).await?;
    output::print(&signed(&remediation, asked, &person.name, decision))?;
    if args.digest.is_none() && std::io::stdin().is_terminal() {
        output::ask("Sign it? [y/N] ")?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("reading the answer")?;
        if !is_yes(&answer) {
            bail!("nothing is signed");
        }
    }

    let approvals: Api<Approval> = Api::namespaced(client, &config.namespace);
    let approval = approval(&remediation, asked, person, decision, &args.reason);
    let made = approvals
        .create(&PostParams::default(), &approval)
        .await
        .map_err(connect::said)
        .with_context(|| format!("creating an approval in namespace {}", config.namespace))?;
    let name = made.name_any();
    let became = became(&remediations, &args.name, &name).await?;
    output::print(&format!("{name}: {became}\n"))
}

/// What is asked, if anything is.
fn asked(remediation: &Remediation) -> Result<&Asked> {
    let name = remediation.name_any();
    let Some(status) = &remediation.status else { bail!("{name} was not judged yet; nobody is asked about it so far") };
    let Some(asked) = status.approval.as_ref().filter(|_| status.phase == Phase::AwaitingApproval) else {
        bail!("nobody is asked about {name}: it is {} ({})", status.phase, status.reason);
    };
    let expires_at = remediation.spec.proposal.expires_at;
    if expires_at <= WallClock.now() {
        bail!("{name} has expired at {expires_at}");
    }
    if let Some(trouble) = &asked.trouble {
        bail!("no approval of {name} can be counted now: {trouble}");
    }
    Ok(asked)
}

/// Whoever signs has read what they sign: just this, or what they are about to be shown and asked. A no to what was not
/// read does no harm.
fn read(asked: &Asked, decision: ApprovalDecision, digest: Option<&str>, at_terminal: bool, name: &str) -> Result<()> {
    match digest {
        Some(digest) if asked.digest.starts_with(digest) => Ok(()),
        Some(digest) => bail!(
            "what is asked is not what you have read: its digest is {}, and not {digest}; `evenkeel describe \
             remediation {name}` shows it",
            asked.digest
        ),
        None if at_terminal || decision == ApprovalDecision::Deny => Ok(()),
        None => bail!(
            "there is no terminal to show and ask what is approved: expected --digest with what was read; `evenkeel \
             describe remediation {name}` shows it"
        ),
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// What would not count is not sent.
fn allowed(remediation: &Remediation, asked: &Asked, person: &Person, decision: ApprovalDecision) -> Result<()> {
    let (name, who) = (remediation.name_any(), &person.name);
    if who.starts_with("system:serviceaccount:") {
        bail!("{who} is a ServiceAccount, and only persons approve or deny; use a kubeconfig of your own");
    }
    if decision == ApprovalDecision::Approve && remediation.spec.requested_by.as_ref() == Some(who) {
        bail!("you ({who}) have asked for {name}, and nobody approves what they ask for");
    }
    if let Some(given) = asked.given.iter().find(|given| given.approver == *who && given.decision == decision) {
        bail!("you ({who}) have said so in {} already; a person counts once", given.name);
    }
    Ok(())
}

async fn who(client: &Client) -> Result<Person> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.map_err(connect::said);
    let info = review.context("asking who you are")?.status.and_then(|status| status.user_info);
    let info = info.context("the API server does not say who you are")?;
    let mut groups = info.groups.unwrap_or_default();
    groups.sort();
    groups.truncate(MOST_GROUPS);
    Ok(Person { name: info.username.unwrap_or_default(), groups })
}

/// Asks beforehand what admission and the gateway will ask, for words that help.
async fn may(client: &Client, tier: Tier, namespace: Option<&str>, who: &str) -> Result<()> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(tier.right_to_approve(namespace)),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &review).await.map_err(connect::said);
    if review.context("asking what you may")?.status.is_some_and(|status| status.allowed) {
        return Ok(());
    }
    let place = namespace.map_or("cluster-wide".to_owned(), |namespace| format!("in namespace {namespace}"));
    bail!(
        "you ({who}) may not {APPROVE_VERB} tier {tier:?} {place}: expected a role with verb {APPROVE_VERB} on \
         {APPROVE_RESOURCE}.{APPROVE_GROUP}, resourceName {} (docs/approvals.md)",
        tier.resource_name()
    )
}

/// What is signed, for people.
fn signed(remediation: &Remediation, asked: &Asked, who: &str, decision: ApprovalDecision) -> String {
    let (spec, proposal) = (&remediation.spec, &remediation.spec.proposal);
    let reason = remediation.status.as_ref().map(|status: &RemediationStatus| status.reason.as_str());
    let mut text = format!("{}: {}\n\n", remediation.name_any(), spec.title);
    let mut line = |word: &str, said: &str| {
        for (n, said) in said.lines().enumerate() {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{:<10} {said}", if n == 0 { word } else { "" });
        }
    };
    line("Why", &proposal.rationale);
    line("Asked", reason.unwrap_or_default());
    line("Changes", &asked.changes.join("\n"));
    let given = asked.given.iter().filter(|given| given.decision == ApprovalDecision::Approve).count();
    line("Tier", &format!("{:?}, {} of {} approved", asked.tier, given, asked.approvers));
    line("Expires", &proposal.expires_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    line("Digest", &asked.digest);
    let answer = match decision {
        ApprovalDecision::Approve => "approves",
        ApprovalDecision::Deny => "denies",
    };
    line("Signed", &format!("{who} {answer}"));
    text.push('\n');
    text
}

fn approval(
    remediation: &Remediation,
    asked: &Asked,
    person: Person,
    decision: ApprovalDecision,
    reason: &str,
) -> Approval {
    let spec = ApprovalSpec {
        remediation: remediation.name_any(),
        digest: asked.digest.clone(),
        decision,
        tier: asked.tier,
        namespace: remediation.spec.proposal.target.namespace.clone(),
        approver: person.name,
        groups: person.groups,
        reason: reason.to_owned(),
    };
    let mut approval = Approval::new("", spec);
    approval.metadata.name = None;
    approval.metadata.generate_name = Some(format!("{}-", remediation.name_any()));
    // It goes when what it is for goes.
    approval.metadata.owner_references = Some(vec![OwnerReference {
        api_version: Remediation::api_version(&()).into_owned(),
        kind: Remediation::kind(&()).into_owned(),
        name: remediation.name_any(),
        uid: remediation.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
    approval
}

/// What the gateway made of it, within reason.
async fn became(remediations: &Api<Remediation>, remediation: &str, approval: &str) -> Result<String> {
    let end = tokio::time::Instant::now() + WAIT.0;
    loop {
        let status = remediations.get(remediation).await.map_err(connect::said)?.status;
        if let Some(asked) = status.as_ref().and_then(|status| status.approval.as_ref()) {
            if let Some(refused) = asked.refused.iter().find(|refused| refused.name == approval) {
                bail!("{approval} does not count: {}", refused.reason);
            }
            if asked.given.iter().any(|given| given.name == approval) {
                let phase = status.as_ref().map(|status| status.phase.to_string()).unwrap_or_default();
                let reason = status.as_ref().map(|status| status.reason.as_str()).unwrap_or_default();
                return Ok(format!("it counts; {remediation} is {phase} ({reason})"));
            }
        }
        if tokio::time::Instant::now() >= end {
            return Ok(format!(
                "no gateway has said within {} s what became of it; `kubectl get remediation {remediation}` will tell",
                WAIT.0.as_secs()
            ));
        }
        tokio::time::sleep(WAIT.1).await;
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{ApprovalGuard, GivenApproval};

    use super::*;
    use crate::testing::{at, remediation};

    fn asking() -> Remediation {
        let mut value =
            remediation(Phase::AwaitingApproval, "people decide (Medium): shop: allowed when 2 people approve");
        value["spec"]["proposal"]["expiresAt"] = "2099-01-05T12:00:00Z".into();
        let mut remediation: Remediation = serde_json::from_value(value).unwrap();
        remediation.status.as_mut().unwrap().approval = Some(Asked {
            digest: "9f".repeat(32),
            since: at(200),
            tier: Tier::Medium,
            approvers: 2,
            changes: vec!["spec.template.spec.containers[web].image: web:2 → web:1".to_owned()],
            guard: Some(ApprovalGuard { version: "a/1 b/1".to_owned(), since: at(0) }),
            trouble: None,
            given: vec![GivenApproval {
                name: "r-1-x7k2p".to_owned(),
                approver: "joe".to_owned(),
                decision: ApprovalDecision::Approve,
                reason: "saw it".to_owned(),
                at: at(210),
            }],
            refused: Vec::new(),
        });
        remediation
    }

    fn person(name: &str) -> Person {
        Person { name: name.to_owned(), groups: vec!["sre".to_owned(), "system:authenticated".to_owned()] }
    }

    #[test]
    fn whoever_signs_sees_what() {
        let remediation = asking();
        let text = signed(&remediation, asked(&remediation).unwrap(), "jane", ApprovalDecision::Approve);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn nothing_is_approved_that_was_not_read() {
        use ApprovalDecision::{Approve, Deny};
        let remediation = asking();
        let asked = asked(&remediation).unwrap();
        let may = |decision, digest, at_terminal| {
            read(asked, decision, digest, at_terminal, "r-1").map_err(|error| error.to_string())
        };
        assert!(may(Approve, Some("9f9f9f9f"), false).is_ok() && may(Approve, None, true).is_ok());
        for (decision, at_terminal) in [(Approve, true), (Approve, false), (Deny, true), (Deny, false)] {
            let other = may(decision, Some("9f9f9f90"), at_terminal).unwrap_err();
            assert!(other.contains("is not what you have read"), "{other}");
        }
        let blind = may(Approve, None, false).unwrap_err();
        assert!(blind.contains("--digest") && blind.contains("describe remediation r-1"), "{blind}");
        assert!(may(Deny, None, false).is_ok(), "a no does no harm");
        assert!(
            ["y\n", " YES \n"].iter().all(|it| is_yes(it)) && !["", "\n", "n\n", "yo\n"].iter().any(|it| is_yes(it))
        );
    }

    #[test]
    fn so_much_of_a_digest_has_to_be_named() {
        use clap::Parser as _;
        let parse = |digest: &str| {
            let line = ["evenkeel", "approve", "r-1", "--reason", "x", "--digest", digest];
            match crate::args::Args::try_parse_from(line).map_err(|error| error.to_string())?.command {
                crate::args::Command::Approve(args) => Ok(args.digest.unwrap()),
                other => Err(format!("{other:?}")),
            }
        };
        assert_eq!(parse("9F86d081…").unwrap(), "9f86d081");
        for wrong in ["9f86d08", "", "9f86d08x"] {
            assert!(parse(wrong).unwrap_err().contains("hexadecimal digits"), "{wrong}");
        }
    }

    #[test]
    fn what_is_sent_says_what_was_shown() {
        let remediation = asking();
        let made = approval(&remediation, asked(&remediation).unwrap(), person("jane"), ApprovalDecision::Deny, "no");
        let spec = &made.spec;
        assert_eq!((spec.digest.as_str(), spec.namespace.as_deref()), ("9f".repeat(32).as_str(), Some("shop")));
        assert_eq!((spec.decision, spec.approver.as_str(), spec.groups.len()), (ApprovalDecision::Deny, "jane", 2));
        assert_eq!(made.metadata.name, None);
        assert_eq!(made.metadata.generate_name, Some(format!("{}-", remediation.name_any())));
    }

    #[test]
    fn what_would_not_count_is_refused_beforehand() {
        let remediation = asking();
        let refused = |who: &str, decision| {
            allowed(&remediation, asked(&remediation).unwrap(), &person(who), decision).map_err(|it| it.to_string())
        };
        use ApprovalDecision::{Approve, Deny};
        assert!(refused("jane", Approve).is_ok() && refused("joe", Deny).is_ok());
        assert!(refused("joe", Approve).unwrap_err().contains("in r-1-x7k2p already"));
        assert!(refused("system:serviceaccount:shop:ci", Deny).unwrap_err().contains("only persons"));
        let mut of_mine = asking();
        of_mine.spec.requested_by = Some("jane".to_owned());
        assert!(allowed(&of_mine, asked(&of_mine).unwrap(), &person("jane"), Approve).is_err());

        let mut late = asking();
        late.spec.proposal.expires_at = at(0);
        assert!(asked(&late).unwrap_err().to_string().contains("has expired"));
        let mut ended = asking();
        ended.status.as_mut().unwrap().phase = Phase::Obsolete;
        assert!(asked(&ended).unwrap_err().to_string().contains("it is Obsolete"));
        let mut unguarded = asking();
        unguarded.status.as_mut().unwrap().approval.as_mut().unwrap().trouble = Some("not installed".to_owned());
        assert!(asked(&unguarded).unwrap_err().to_string().ends_with("not installed"));
    }
}
