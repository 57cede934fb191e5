//! `evenkeel policy explain|rbac|admission`.

mod asked;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use evenkeel_model::{ActionPolicy, ActionPolicySpec, Remediation};
use evenkeel_playbook::{Problem, yaml};
use evenkeel_policy::generate::{self, Admission};
use evenkeel_policy::{PolicySource, explain};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use crate::args::{Engine, ExplainArgs, Policy, PolicyArgs};
use crate::check;
use crate::config::Config;
use crate::get::config;
use crate::run::wait;
use crate::{connect, output, rbac};

const USAGE: u8 = 2;
/// Where policies lie unless it is said.
const POLICIES: &str = "policies";

pub(crate) fn run(command: &Policy) -> Result<ExitCode> {
    match command {
        Policy::Explain(args) => explained(args),
        Policy::Rbac(args) => generated(args, |config, policies| {
            let protected = evenkeel_gateway::protected(&config.gateway, &config.namespace);
            // What it reads and keeps for itself, and then what policies let it write.
            let mut objects = rbac::objects(&config.namespace, &[]);
            objects.extend(generate::rbac(policies, &config.namespace, &protected));
            objects
        }),
        Policy::Admission { policies, own: true, .. } => {
            output::print(&output::documents(&own(&config(&policies.client)?))?)?;
            Ok(ExitCode::SUCCESS)
        }
        Policy::Admission { policies, engine: Some(engine), .. } => for_engine(policies, *engine),
        Policy::Admission { policies, audit, engine: None, own: false } => generated(policies, |config, policies| {
            let protected = evenkeel_gateway::protected(&config.gateway, &config.namespace);
            let how = if *audit { Admission::Audit } else { Admission::Deny };
            let gateway = generate::admission(policies, &config.namespace, &protected, how);
            gateway.into_iter().chain(own(config)).collect()
        }),
    }
}

/// What Kyverno's users read before it.
const OF_KYVERNO: &str = "\
# Kyverno 1.17 or later. Audit: it reports what it would refuse, and refuses nothing.
# To enforce it: validationActions: [Deny].
";
/// What Gatekeeper's users read before it. The constraint's kind is known once Gatekeeper has read the template.
const OF_GATEKEEPER: &str = "\
# Gatekeeper 3.18 or later. dryrun: it reports what it would refuse, and refuses nothing.
# To enforce it: enforcementAction: deny. Apply it twice: the constraint's kind is made of the template.
# Deletions reach Gatekeeper only where it is installed with enableDeleteOperations.
";
/// What both read.
const OF_BOTH: &str = "\
# It is the ValidatingAdmissionPolicy evenkeel-gateway in that engine's words, and does not stand in for it, nor for
# the policies over approvals and people's requests, which `evenkeel policy admission` prints.
";

fn for_engine(args: &PolicyArgs, engine: Engine) -> Result<ExitCode> {
    let config = config(&args.client)?;
    let Some(policies) = of_files(args.policies.as_deref()) else { return Ok(ExitCode::from(USAGE)) };
    let protected = evenkeel_gateway::protected(&config.gateway, &config.namespace);
    let (about, objects) = match engine {
        Engine::Kyverno => (OF_KYVERNO, vec![generate::kyverno(&policies, &config.namespace, &protected)]),
        Engine::Gatekeeper => (OF_GATEKEEPER, generate::gatekeeper(&policies, &config.namespace, &protected).to_vec()),
    };
    output::print(&format!("{about}{OF_BOTH}{}", output::documents(&objects)?))?;
    Ok(ExitCode::SUCCESS)
}

/// What says who writes our own objects; that is never only tried out.
fn own(config: &Config) -> Vec<Value> {
    let approvals = generate::approvals(&config.namespace);
    let records = generate::records(&config.namespace);
    approvals.into_iter().chain(generate::people()).chain(records).collect()
}

fn generated(args: &PolicyArgs, objects: impl FnOnce(&Config, &[PolicySource]) -> Vec<Value>) -> Result<ExitCode> {
    let config = config(&args.client)?;
    let Some(policies) = of_files(args.policies.as_deref()) else { return Ok(ExitCode::from(USAGE)) };
    output::print(&output::documents(&objects(&config, &policies))?)?;
    Ok(ExitCode::SUCCESS)
}

fn explained(args: &ExplainArgs) -> Result<ExitCode> {
    let config = config(&args.policies.client)?;
    let (record, cluster) = match &args.remediation {
        Some(name) => {
            let (remediation, policies) = wait(of_cluster(&config, name))?;
            (Some(serde_json::to_value(remediation)?), Some(policies))
        }
        None => (None, None),
    };
    let policies = match (cluster, &args.policies.policies) {
        (Some(policies), None) => policies,
        (_, path) => match of_files(path.as_deref()) {
            Some(policies) => policies,
            None => return Ok(ExitCode::from(USAGE)),
        },
    };
    let asked = match asked::asked(args, record) {
        Ok(asked) => asked,
        Err(error) => {
            output::warn(&output::causes(&error));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let protected = evenkeel_gateway::protected(&config.gateway, &config.namespace);
    let explanation = explain(&asked.question(&protected), &policies);
    if args.json {
        let mut document = serde_json::to_value(&explanation)?;
        if let (Some(recorded), Some(document)) = (&asked.recorded, document.as_object_mut()) {
            document.insert("recorded".to_owned(), serde_json::to_value(recorded)?);
        }
        output::print(&format!("{document:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let recorded = asked.recorded.as_ref().map(asked::recorded).unwrap_or_default();
    output::print(&format!("{recorded}{explanation}"))?;
    Ok(ExitCode::SUCCESS)
}

/// The policies of files, or nothing when findings were printed.
fn of_files(path: Option<&Path>) -> Option<Vec<PolicySource>> {
    let files = match check::files(&[path.unwrap_or(Path::new(POLICIES)).to_owned()]) {
        Ok(files) => files,
        Err(reason) => {
            output::warn(&reason);
            return None;
        }
    };
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        let origin = file.display().to_string();
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let (found, wrong) = yaml::documents::<ActionPolicySpec>(&text, &origin, "ActionPolicy");
                documents.extend(found);
                problems.extend(wrong);
            }
            Err(error) => {
                problems.push(Problem { file: origin, line: 1, column: 1, message: format!("can't be read: {error}") });
            }
        }
    }
    problems.extend(check::wrong_with(&documents));
    if !problems.is_empty() {
        problems.sort();
        problems.iter().for_each(|problem| output::warn(&problem.to_string()));
        return None;
    }
    let loaded = |it: yaml::Document<ActionPolicySpec>| PolicySource::Loaded { name: it.name, spec: it.spec };
    Some(documents.into_iter().map(loaded).collect())
}

async fn of_cluster(config: &Config, name: &str) -> Result<(Remediation, Vec<PolicySource>)> {
    let client: Client = connect::reader(&config.kubernetes).await?;
    let api: Api<Remediation> = Api::namespaced(client.clone(), &config.namespace);
    let remediation = api.get(name).await.map_err(connect::said).with_context(|| {
        format!("reading remediation {name} in namespace {}; `evenkeel get remediations` lists them", config.namespace)
    })?;
    let policies: Api<DynamicObject> = Api::all_with(client, &ApiResource::erase::<ActionPolicy>(&()));
    let list = policies.list(&ListParams::default()).await.map_err(connect::said).context("listing action policies")?;
    let read = |it: DynamicObject| PolicySource::read(it.name_any(), it.data.get("spec").unwrap_or(&Value::Null));
    Ok((remediation, list.into_iter().map(read).collect()))
}
