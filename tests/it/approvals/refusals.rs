use std::time::Duration;

use anyhow::{Result, bail, ensure};
use evenkeel_model::{Asked, Phase};
use evenkeel_tests::people::Person;
use evenkeel_tests::{Options, Plane, World, eventually, world};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{approval, asked, broken, create, guarded, phase, propose, where_people_decide};

/// That the API server refuses it, in these words.
fn refused(world: &World, person: &Person, approval: &Value, words: &str) -> Result<()> {
    let Err(error) = create(world, person, approval) else { bail!("{} may create {approval}", person.name) };
    let said = format!("{error:#}");
    ensure!(said.contains("evenkeel-approvals") && said.contains(words), "expected {words:?}, found {said}");
    Ok(())
}

/// An approval that is changed somewhere.
fn changed(mut approval: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut approval["spec"]);
    approval
}

/// That an approval does not count, and the Remediation says why.
async fn does_not_count(world: &World, remediation: &str, name: &str, words: &str) -> Result<Asked> {
    let what = format!("{name} not to count: {words}");
    asked(world, remediation, &what, |asked| {
        asked.refused.iter().any(|refused| refused.name == name && refused.reason.contains(words))
    })
    .await
}

/// Whoever the API server lets in can't be somebody else.
fn forgeries_are_refused_by_the_api_server(
    world: &World,
    asked: &Asked,
    jane: &Person,
    others: [&Person; 3],
) -> Result<()> {
    let of = |who: &str, groups: &[&str]| approval("r-cart", asked, who, groups);
    let [mallory, observer, gateway] = others;
    refused(world, mallory, &of("mallory", &["dev"]), "may not approve this tier there")?;
    let elsewhere = changed(of("jane", &["sre"]), |it| it["namespace"] = json!("bank"));
    refused(world, jane, &elsewhere, "may not approve this tier there")?;
    let higher = changed(of("jane", &["sre"]), |it| it["tier"] = json!("High"));
    refused(world, jane, &higher, "may not approve this tier there")?;
    refused(world, jane, &of("joe", &["sre"]), "the approver is not its author")?;
    refused(world, jane, &of("jane", &["sre", "system:masters"]), "is not in all of its groups")?;
    refused(world, jane, &of("slack:joe", &["sre"]), "only a gateway says what people answered in Slack")?;
    refused(world, observer, &of(&observer.name, &[]), "a ServiceAccount is no person")?;
    refused(world, gateway, &of("jane", &["sre"]), "a gateway approves nothing itself")?;
    let denial = changed(of("joe", &["sre"]), |it| it["decision"] = json!("Deny"));
    refused(world, jane, &denial, "the approver is not its author")
}

#[test]
fn whatever_is_no_approval_of_what_is_asked_is_refused_with_a_reason() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        where_people_decide(world, 2).await?;
        let jane = world.person("jane", Some("sre")).await?;
        let joe = world.person("joe", Some("sre")).await?;
        let rita = world.person("rita", Some("sre")).await?;
        let mallory = world.person("mallory", Some("dev")).await?;
        let (observer, gateway) = (world.account(Plane::Observer).await?, world.account(Plane::Gateway).await?);
        broken(world, "cart").await?;
        broken(world, "web").await?;
        let r = propose(world, "r-cart", "cart", chrono::Duration::minutes(30), Some("rita")).await?;
        let short = propose(world, "r-web", "web", chrono::Duration::seconds(25), None).await?;
        let first = guarded(world, &r).await?;
        let of_short = guarded(world, &short).await?;

        forgeries_are_refused_by_the_api_server(world, &first, &jane, [&mallory, &observer, &gateway])?;

        // Whoever asked for it; the same person again; and what was made cannot be changed.
        let of = |asked: &Asked, who: &str| approval(&r, asked, who, &["sre", "system:authenticated"]);
        let own = create(world, &rita, &of(&first, "rita"))?;
        does_not_count(world, &r, &own, "nobody approves what they ask for").await?;
        let once = create(world, &jane, &of(&first, "jane"))?;
        asked(world, &r, "jane's to count", |it| it.given.iter().any(|given| given.name == once)).await?;
        let twice = create(world, &jane, &of(&first, "jane"))?;
        let still = does_not_count(world, &r, &twice, "a person counts once").await?;
        ensure!(still.given.len() == 1, "{still:#?}");
        let patch = json!({"spec": {"digest": "0".repeat(64)}}).to_string();
        let arguments = ["patch", "--namespace", "evenkeel", "approval", &once, "--type=merge", "--patch", &patch];
        let Err(error) = world.kubectl_as(&jane, &arguments, "") else { bail!("an approval can be changed") };
        ensure!(format!("{error:#}").contains("an Approval can't be changed"), "{error:#}");

        // The command says beforehand what would not count.
        for (person, words) in [
            (&mallory, "you (mallory) may not approve tier Medium in namespace shop"),
            (&rita, "nobody approves what they ask for"),
            (&jane, "a person counts once"),
            (&observer, "is a ServiceAccount"),
        ] {
            let said =
                world.evenkeel_as(person, &["approve", &r, "--digest", &first.digest, "--reason", "looked at it"]);
            let Err(error) = said else { bail!("{} has approved", person.name) };
            ensure!(format!("{error:#}").contains(words), "expected {words:?}, found {error:#}");
        }

        // The target changes: what jane signed is not what would be done.
        world.set_image("shop", "cart", "registry.example/app:v3-missing")?;
        let second =
            asked(world, &r, "to be asked anew", |it| it.digest != first.digest && it.given.is_empty()).await?;
        does_not_count(world, &r, &once, "are not what they were").await?;
        let replayed = create(world, &joe, &of(&first, "joe"))?;
        does_not_count(world, &r, &replayed, "are not what they were").await?;
        ensure!(world.our_writes("deployments", "shop", "cart")?.is_empty());

        // Two persons who sign what is asked now, by kubectl and by the command.
        create(world, &jane, &of(&second, "jane"))?;
        for (digest, words) in [(Some(first.digest.as_str()), "is not what you have read"), (None, "expected --digest")]
        {
            let named = digest.map(|digest| ["--digest", digest]);
            let all: Vec<&str> =
                ["approve", &r, "--reason", "unseen"].into_iter().chain(named.into_iter().flatten()).collect();
            let Err(error) = world.evenkeel_as(&joe, &all) else { bail!("signed what was not read") };
            ensure!(format!("{error:#}").contains(words), "expected {words:?}, found {error:#}");
        }
        let read = &second.digest[..12];
        let said = world.evenkeel_as(&joe, &["approve", &r, "--digest", read, "--reason", "looked at it, too"])?;
        ensure!(said.contains(&second.digest) && said.contains("app:v3-missing → "), "{said}");
        ensure!(said.contains("joe approves") && said.contains(": it counts; r-cart is "), "{said}");
        phase(world, &r, &[Phase::Verifying, Phase::Succeeded]).await?;
        ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");
        let writes = world.our_writes("deployments", "shop", "cart")?;
        ensure!(writes.len() == 2 && writes[0].is_dry_run() && writes.iter().all(|it| it.succeeded()), "{writes:#?}");

        late(world, &short, &of_short, &joe).await
    })
}

/// An approval of what has expired counts for nothing, and an Event says so.
async fn late(world: &World, short: &str, of_short: &Asked, joe: &Person) -> Result<()> {
    phase(world, short, &[Phase::Expired]).await?;
    let late = create(world, joe, &approval(short, of_short, "joe", &["sre"]))?;
    let events: Api<Event> = Api::namespaced(world.client.clone(), "evenkeel");
    let note = eventually("an Event about the late approval", Duration::from_secs(20), || async {
        let all = events.list(&ListParams::default()).await?;
        let about = |event: &Event| event.regarding.as_ref().and_then(|it| it.name.clone()).unwrap_or_default();
        Ok(all.into_iter().find(|event| about(event) == late).and_then(|event| event.note))
    })
    .await?;
    ensure!(note.contains("nobody is asked about r-web any more: it is Expired"), "{note}");
    let Err(error) = world.evenkeel_as(joe, &["approve", short, "--reason", "looked at it"]) else {
        bail!("what has expired was approved")
    };
    ensure!(format!("{error:#}").contains("it is Expired"), "{error:#}");
    ensure!(world.our_writes("deployments", "shop", "web")?.is_empty());
    Ok(())
}

#[test]
fn one_denial_ends_it_at_once() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        where_people_decide(world, 2).await?;
        let jane = world.person("jane", Some("sre")).await?;
        let joe = world.person("joe", Some("sre")).await?;
        broken(world, "cart").await?;
        let r = propose(world, "r-cart", "cart", chrono::Duration::minutes(30), None).await?;
        let first = guarded(world, &r).await?;
        create(world, &jane, &approval(&r, &first, "jane", &["sre"]))?;
        let said = world.evenkeel_as(&joe, &["deny", &r, "--reason", "v1 has the other fault"])?;
        ensure!(said.contains("it counts; r-cart is Denied (denied by joe: v1 has the other fault)"), "{said}");
        ensure!(world.our_writes("deployments", "shop", "cart")?.is_empty());
        Ok(())
    })
}
