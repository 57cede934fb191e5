use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use evenkeel_model::{Approval, Asked, Phase};
use evenkeel_tests::people::APPROVERS;
use evenkeel_tests::world::ENGINE;
use evenkeel_tests::{Options, Plane, eventually, world};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{SOON, approval, asked, broken, create, guarded, medium, phase, propose};

/// Printed when it fails, with everything else of the test.
const SEED: u64 = 20_261_121;
/// By each of the four who forge.
const EACH: usize = 300;

/// Knuth's MMIX generator: the same forgeries for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % n
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// An approval in which at least one thing is not true of `who`: whom it is by, their groups, or what they may.
fn forge(chance: &mut Chance, who: &str, of: &Value) -> Value {
    let names = ["jane", "joe", "admin", "slack:jane", "system:admin", "test-admin", "Jane", "jane ", "joe\u{200b}"];
    let groups = ["sre", "system:masters", "system:authenticated", "system:serviceaccounts", "dev", ""];
    let mut forged = of.clone();
    let spec = &mut forged["spec"];
    let approver = loop {
        let name = *chance.one(&names);
        // What a gateway says of people in Slack is no forgery.
        let may = who.ends_with(":evenkeel-gateway") && name.starts_with("slack:");
        if name != who && !may {
            break name;
        }
    };
    let many = chance.below(4);
    spec["groups"] = (0..many).map(|_| json!(chance.one(&groups))).collect();
    spec["decision"] = json!(chance.one(&["Approve", "Approve", "Approve", "Deny"]));
    match chance.below(3) {
        // Somebody else's name.
        0 => spec["approver"] = json!(approver),
        // Their own name, and more than they may; jane may, so that she needs a group that is not hers.
        1 if who == "jane" => {
            spec["approver"] = json!(who);
            spec["groups"] = json!(["sre", chance.one(&["system:masters", "dev", "ops", "Sre"])]);
        }
        1 => spec["approver"] = json!(who),
        // Another's name, groups that are right for it, and all else as it should be.
        _ => {
            spec["approver"] = json!(approver);
            spec["groups"] = json!(["sre", "system:authenticated"]);
        }
    }
    forged
}

/// What became of forgeries.
#[derive(Debug, Default)]
struct Tally {
    stored: AtomicUsize,
    refused: AtomicUsize,
    otherwise: AtomicUsize,
}

async fn flood(
    client: Client,
    who: String,
    seed: u64,
    of: Value,
    tally: Arc<Tally>,
    enough: Arc<AtomicBool>,
) -> Result<()> {
    let api: Api<Approval> = Api::namespaced(client, ENGINE);
    let mut chance = Chance(seed);
    let mut sent = 0;
    while sent < EACH || !enough.load(Ordering::Relaxed) {
        let forged: Approval = serde_json::from_value(forge(&mut chance, &who, &of))?;
        let count = match api.create(&PostParams::default(), &forged).await {
            Ok(_) => &tally.stored,
            Err(kube::Error::Api(status)) if status.message.contains("denied request") => &tally.refused,
            Err(_) => &tally.otherwise,
        };
        count.fetch_add(1, Ordering::Relaxed);
        sent += 1;
    }
    Ok(())
}

/// Forged without end before, while and after the admission policy is installed: those that are taken in before it is in
/// effect don't count, and after that none is taken in.
#[test]
fn of_a_thousand_forgeries_none_counts_also_in_the_seconds_when_admission_is_installed() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        println!("forgeries: seed {SEED}");
        world.apply(&medium(1))?;
        world.apply(APPROVERS)?;
        let jane = world.person("jane", Some("sre")).await?;
        let mallory = world.person("mallory", Some("dev")).await?;
        let (observer, gateway) = (world.account(Plane::Observer).await?, world.account(Plane::Gateway).await?);
        world.engine.launch(Plane::Gateway)?;
        world.engine.ready(Plane::Gateway).await?;
        broken(world, "cart").await?;
        let r = propose(world, "r-cart", "cart", chrono::Duration::minutes(30), None).await?;
        let first = asked(world, &r, "to be asked without admission", |asked: &Asked| asked.trouble.is_some()).await?;
        ensure!(first.trouble.as_deref().is_some_and(|it| it.contains("is not installed")), "{first:#?}");

        let (tally, enough) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let of = approval(&r, &first, "nobody", &[]);
        let floods: Vec<_> = [&jane, &mallory, &observer, &gateway]
            .into_iter()
            .zip(SEED..)
            .map(|(who, seed)| {
                let (client, name, of) = (who.client.clone(), who.name.clone(), of.clone());
                tokio::spawn(flood(client, name, seed, of, Arc::clone(&tally), Arc::clone(&enough)))
            })
            .collect();
        let stored = || tally.stored.load(Ordering::Relaxed);
        eventually("forgeries to be stored", SOON, || async { Ok((stored() > 200).then_some(())) }).await?;
        let before = stored();
        world.guard_approvals()?;
        let held = guarded(world, &r).await?;
        enough.store(true, Ordering::Relaxed);
        for flood in floods {
            flood.await??;
        }
        let refused = tally.refused.load(Ordering::Relaxed);
        println!(
            "forgeries: {} stored, {before} of them before it was installed; {refused} refused; {:?}",
            stored(),
            tally
        );
        ensure!(stored() + refused >= 1000, "{tally:?}");
        ensure!(refused > 0 && tally.otherwise.load(Ordering::Relaxed) == 0, "{tally:?}");

        // Of those that were stored none is as young as an approval has to be.
        let since = held.guard.as_ref().map(|guard| guard.since.timestamp()).unwrap_or_default();
        let api: Api<Approval> = Api::namespaced(world.client.clone(), ENGINE);
        let all = api.list(&ListParams::default()).await?.items;
        ensure!(all.len() == stored(), "{} are there", all.len());
        let created = |it: &Approval| it.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |at| at.0.as_second());
        let young: Vec<_> = all.iter().filter(|it| created(it) > since + 5).collect();
        ensure!(young.is_empty(), "{young:#?}");
        println!(
            "forgeries: stored after the policy was seen to hold: {}",
            all.iter().filter(|it| created(it) > since).count()
        );

        let now = asked(world, &r, "none to count", |it| it.given.is_empty() && it.trouble.is_none()).await?;
        ensure!(!now.refused.is_empty(), "{now:#?}");
        phase(world, &r, &[Phase::AwaitingApproval]).await?;
        ensure!(world.our_writes("deployments", "shop", "cart")?.is_empty());

        // Among all of them the one that is none is found.
        let name = create(world, &jane, &approval(&r, &now, "jane", &["sre"]))?;
        let done = phase(world, &r, &[Phase::Verifying, Phase::Succeeded]).await?;
        let given: Vec<String> = done.approval.into_iter().flat_map(|it| it.given).map(|it| it.name).collect();
        ensure!(given == [name], "{given:?}");
        Ok(())
    })
}
