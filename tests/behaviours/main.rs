//! `behaviours record [GROUP…]` writes down what the cluster of KUBECONFIG does; `behaviours simulated [GROUP…]` shows
//! where the simulator does something else; `behaviours real [GROUP…]`, where the cluster does.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use anyhow::{Result, bail};
use evenkeel_tests::behaviours::{Golden, Group, differences, real, simulated};
use serde_json::json;

fn main() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let only: Vec<String> = arguments.collect();
    let mut groups = Group::all()?;
    groups.retain(|group| only.is_empty() || only.contains(&group.name));
    let found = match what.as_str() {
        "record" | "real" => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let mut config = kube::Config::infer().await?;
                config.default_retry = false;
                real(&kube::Client::try_from(config)?, &groups).await
            })?
        }
        "simulated" => {
            let mut golden = Golden::default();
            for group in &groups {
                for behaviour in &group.behaviours {
                    let transcript =
                        simulated(behaviour).unwrap_or_else(|error| json!({"broken": format!("{error:#}")}));
                    golden.0.entry(group.name.clone()).or_default().insert(behaviour.name.clone(), transcript);
                }
            }
            golden
        }
        _ => bail!("expected record, real or simulated, found {what:?}"),
    };
    if what == "record" {
        for (group, behaviours) in &found.0 {
            for (name, transcript) in behaviours {
                if let Some(broken) = transcript.get("broken") {
                    println!("{group}: {name}: {broken}");
                }
            }
        }
        return found.save();
    }
    let recorded = Golden::load(groups.iter().map(|group| group.name.as_str()))?;
    let told = differences(&recorded, &found);
    let count: usize = groups.iter().map(|group| group.behaviours.len()).sum();
    println!("{}\n{} of {count} behaviours differ", told.join("\n"), told.len());
    Ok(())
}
