//! People are asked in Slack and answer by a click. Slack itself is a stand-in on loopback; all else is real.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::audit::user_of;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT};
use evenkeel_tests::people::APPROVERS;
use evenkeel_tests::proxy::{Rule, Trouble};
use evenkeel_tests::slack::{APPROVE, Answer, Click, Slack};
use evenkeel_tests::{Options, Plane, World, eventually, world};
use serde_json::json;

use crate::approvals::{SOON, asked, broken, guarded, medium, phase, propose};
use crate::repair::RULES;

/// Jane may approve, rita asks for things, mallory is known and may nothing.
const PEOPLE: [(&str, &str, &str); 3] =
    [("U0JANE", "jane", "sre"), ("U0RITA", "rita", "sre"), ("U0MALLORY", "mallory", "dev")];

fn taken() -> Answer {
    Answer { status: 200, text: String::new() }
}

fn refused(status: u16, text: &str) -> Answer {
    Answer { status, text: text.to_owned() }
}

/// From the fault to the repair, with a person in between who has nothing but Slack.
#[test]
fn what_a_person_approves_by_a_click_in_slack_is_carried_out_and_told_in_place() -> Result<()> {
    let mut options = Options::real().with_alerts(RULES, 1);
    // So that nothing but the alert can have told of it.
    options.watches = false;
    world::run(options, async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&medium(1))?;
        world.apply(APPROVERS)?;
        world.guard_approvals()?;
        let slack = world.with_slack(&PEOPLE).await?;
        world.engine.start().await?;
        world.route_alerts()?;
        world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
        world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;

        let waits = [Phase::AwaitingApproval];
        let found = world.remediation("rollbackWorkload", "cart", &waits, Duration::from_secs(90)).await?;
        let name = found.metadata.name.context("it has no name")?;
        ensure!(found.spec.proposal.signals == ["KubeContainerWaiting"], "{:?}", found.spec.proposal.signals);
        let asked = guarded(world, &name).await?;
        let button = slack.asks(&name, &asked.digest).await?;
        let message = slack.about(&name)?;
        let shown = message.text();
        for words in [
            "Approval needed: ",
            "`deployment/shop/cart` in cluster `test`",
            "*Signals* `KubeContainerWaiting`",
            "- registry.example/app:no-such-tag",
            "+ registry.example/app:v1",
            "*Blast radius*",
            "Policy: tier Medium, one person to approve",
            "expires <!date^",
        ] {
            ensure!(shown.contains(words), "expected {words:?}, found {shown}");
        }
        ensure!(world.our_writes("deployments", "shop", "cart")?.is_empty(), "something was done before a click");

        ensure!(slack.send(&Click::by("U0JANE", &button)).await? == taken());
        let done = world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(90)).await?;
        ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");
        let status = done.status.context("it has no status")?;
        let given: Vec<String> = status.approval.into_iter().flat_map(|it| it.given).map(|it| it.approver).collect();
        ensure!(given == ["slack:jane"], "{given:?}");
        let writes = world.our_writes("deployments", "shop", "cart")?;
        ensure!(writes.len() == 2 && writes[0].is_dry_run() && writes.iter().all(|it| it.succeeded()), "{writes:#?}");
        let approvals: Vec<_> = world
            .audit()?
            .into_iter()
            .filter(|it| it.verb == "create" && it.succeeded() && !it.is_dry_run())
            .filter(|it| it.object_ref.as_ref().is_some_and(|object| object.resource == "approvals"))
            .collect();
        ensure!(approvals.len() == 1 && approvals[0].user.username == user_of(Plane::Gateway), "{approvals:#?}");

        told_in_place(&slack, &name, &message.ts).await
    })
}

/// One message, edited until it says how it ended, with a thread that tells the course.
async fn told_in_place(slack: &Slack, name: &str, ts: &str) -> Result<()> {
    let told = eventually("Slack to be told that it helped", SOON, || async {
        let message = slack.about(name)?;
        Ok(message.text().starts_with("Helped: ").then_some(message))
    })
    .await?;
    let all = slack.messages();
    ensure!(all.len() == 1 && told.ts == ts, "expected one message, found {all:#?}");
    ensure!(told.button(APPROVE).is_none(), "{:#}", told.body);
    ensure!(told.text().contains("Approved by `jane`"), "{}", told.text());
    // Of stages that follow each other at once only the last may have been told.
    let thread = eventually("the thread to tell how it ended", SOON, || async {
        Ok(Some(slack.thread(ts)).filter(|thread| thread.last().is_some_and(|last| last == "Helped")))
    })
    .await?;
    let course = ["Will be done", "Being done", "Done, watching whether it helps", "Helped"];
    let places: Vec<Option<usize>> = thread.iter().map(|told| course.iter().position(|stage| stage == told)).collect();
    ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{thread:?}");
    ensure!(thread.iter().any(|told| told == course[2]), "{thread:?}");
    ensure!(told.headlines.iter().any(|headline| headline.starts_with(course[2])), "{:?}", told.headlines);
    Ok(())
}

#[test]
fn a_click_that_does_not_count_is_refused_with_a_reason_and_one_that_counts_counts_once() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.apply(&medium(1))?;
        world.apply(APPROVERS)?;
        world.guard_approvals()?;
        let slack = world.with_slack(&PEOPLE).await?;
        let mut configuration = world.read_configuration(Plane::Gateway)?;
        // What is held back below is given up after it.
        configuration["gateway"]["requestTimeout"] = json!("5s");
        world.write_configuration(Plane::Gateway, &configuration)?;
        let proxy = world.behind_proxy(Plane::Gateway).await?;
        world.engine.launch(Plane::Gateway)?;
        world.engine.ready(Plane::Gateway).await?;
        broken(world, "cart").await?;
        broken(world, "web").await?;
        let r = propose(world, "r-cart", "cart", chrono::Duration::minutes(30), Some("rita")).await?;
        let short = propose(world, "r-web", "web", chrono::Duration::seconds(30), None).await?;
        let clickable = |asked: &evenkeel_model::Asked| asked.trouble.is_none();
        let of_short = asked(world, &short, "to be asked", clickable).await?;
        let short_button = slack.asks(&short, &of_short.digest).await?;
        let first = guarded(world, &r).await?;
        let button = slack.asks(&r, &first.digest).await?;

        // Whoever is not Slack is told so, and nothing else.
        let not_slack = refused(401, "not signed by Slack, or not lately");
        let good = Click::by("U0JANE", &button);
        for click in [
            Click::signed(good.body.clone(), good.at, "another secret"),
            Click { body: good.body.replace("U0JANE", "U0RITA"), ..good.clone() },
            Click { at: good.at + 1, ..good.clone() },
            good.aged(301),
        ] {
            ensure!(slack.send(&click).await? == not_slack, "{click:?}");
        }

        // Slack has its answer; the person who clicked is told why it does not count.
        for (click, user, words) in [
            (Click::by("U0NOBODY", &button), "U0NOBODY", "stands for no Kubernetes user"),
            (Click::from_team("T0OTHER", "U0JANE", &button), "U0JANE", "Only members of this workspace"),
            (Click::by("U0MALLORY", &button), "U0MALLORY", "mallory may not approve"),
            (Click::by("U0RITA", &button), "U0RITA", "nobody approves what they ask for"),
        ] {
            ensure!(slack.send(&click).await? == taken(), "{click:?}");
            slack.whispers(user, words).await?;
        }

        // The answer does not wait for what becomes of the click: the API server never gets to hear of this one.
        let path = "/approvals".to_owned();
        proxy.trouble(Rule { method: http::Method::POST, path, times: 1, trouble: Trouble::HoldBeforeSend });
        ensure!(slack.send(&Click::by("U0JANE", &button)).await? == taken());
        proxy.struck().await;
        slack.whispers("U0JANE", "The API server could not be asked").await?;

        // The target changes: what the button showed is not what would be done.
        world.set_image("shop", "cart", "registry.example/app:v3-missing")?;
        let second = asked(world, &r, "to be asked anew", |it| it.digest != first.digest && clickable(it)).await?;
        ensure!(slack.send(&Click::by("U0JANE", &button)).await? == taken());
        slack.whispers("U0JANE", "What would be done has changed since this was shown").await?;
        ensure!(world.our_writes("deployments", "shop", "cart")?.is_empty());

        late(world, &slack, &short, &short_button).await?;
        once(world, &slack, &r, &slack.asks(&r, &second.digest).await?).await?;
        let about: Vec<String> = slack.messages().iter().map(|message| message.headlines.concat()).collect();
        ensure!(about.len() == 2, "each is asked about in one message, after a restart, too: {about:#?}");
        Ok(())
    })
}

/// What has expired can't be approved, and its message says so.
async fn late(world: &World, slack: &Slack, short: &str, button: &str) -> Result<()> {
    phase(world, short, &[Phase::Expired]).await?;
    ensure!(slack.send(&Click::by("U0JANE", button)).await? == taken());
    slack.whispers("U0JANE", &format!("Nobody is asked about {short} now: it is Expired.")).await?;
    eventually("the message to say that it has expired", SOON, || async {
        let message = slack.about(short)?;
        let said = message.text().starts_with("Expired, nothing was done: ") && message.button(APPROVE).is_none();
        Ok(said.then_some(()))
    })
    .await?;
    ensure!(world.our_writes("deployments", "shop", "web")?.is_empty());
    Ok(())
}

/// A click counts; delivered again it does not, also by a gateway that was not there before.
async fn once(world: &mut World, slack: &Slack, r: &str, button: &str) -> Result<()> {
    let click = Click::by("U0JANE", button);
    ensure!(slack.send(&click).await? == taken());
    ensure!(slack.send(&click).await? == refused(409, "taken before"));
    phase(world, r, &[Phase::Verifying, Phase::Succeeded]).await?;
    world.engine.kill(Plane::Gateway);
    world.engine.launch(Plane::Gateway)?;
    world.engine.ready(Plane::Gateway).await?;
    ensure!(slack.send(&click).await? == refused(409, "taken before"));
    let done = phase(world, r, &[Phase::Succeeded]).await?;
    let given: Vec<String> = done.approval.into_iter().flat_map(|it| it.given).map(|it| it.approver).collect();
    ensure!(given == ["slack:jane"], "{given:?}");
    ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");
    let writes = world.our_writes("deployments", "shop", "cart")?;
    ensure!(writes.len() == 2 && writes[0].is_dry_run() && writes.iter().all(|it| it.succeeded()), "{writes:#?}");
    Ok(())
}
