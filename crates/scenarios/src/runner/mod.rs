//! Runs a scenario: the simulated cluster, the real engine on it, virtual time; and compares what came of it.

mod collect;
pub(crate) mod faults;
mod health;
mod judge;
mod manifest;
pub(crate) mod monitoring;
mod people;
mod report;
mod setup;
mod stage;
mod trace;
mod trouble;

pub use report::{
    ApprovalSeen, EventSeen, FreezeSeen, HealthPoint, HealthSeries, PhaseSeen, Proposed, RemediationSeen, RunReport,
    SignalSeen, Violation, WriteSeen,
};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_bus::Stream;
use evenkeel_model::{Proposal, Signal, Span};
use evenkeel_simulator::{Intercept, NodeOptions, Options, Simulator};

use crate::engine::{Crash, Engine};
use crate::file::{Event, Scenario};
use crate::invariants::{self, Seen};
use health::Health;
use judge::Judge;
use people::Person;
use stage::Stage;
use trouble::Troubles;

/// How targets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Seeds other than 0 move events by up to so much, either way.
const SHAKE: i64 = 20_000;

/// How a scenario is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Decides chance; 0 leaves events at their times.
    pub seed: u64,
    /// Adds random trouble for the engine.
    pub engine_faults: bool,
    /// Has a gateway die at one of its calls.
    pub crash: Option<Crash>,
    /// Switches a protection of the engine off.
    #[cfg(feature = "mutation")]
    pub mutation: Option<crate::Mutation>,
}

impl RunOptions {
    /// Whether something was done to the engine that makes things come late.
    fn is_troubled(self) -> bool {
        self.engine_faults || self.crash.is_some()
    }
}

/// Why a scenario can't be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No runtime.
    #[error("no runtime can be had: {0}")]
    Runtime(#[from] std::io::Error),
    /// The cluster at the start can't be made.
    #[error("{scenario}: the cluster can't be set up: {reason}")]
    SetUp {
        /// The scenario.
        scenario: String,
        /// Why.
        reason: String,
    },
}

/// Runs a scenario to its end, in virtual time, on this thread.
///
/// # Errors
/// [`RunError`] when it could not even begin; what goes wrong in it is a violation in the report.
pub fn run(scenario: &Scenario, options: RunOptions) -> Result<RunReport, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    // Boxed: it holds everything.
    let report = runtime.block_on(Box::pin(play(scenario, options)));
    runtime.shutdown_background();
    report
}

async fn play(scenario: &Scenario, options: RunOptions) -> Result<RunReport, RunError> {
    let spec = &scenario.spec;
    let failed = |reason: String| RunError::SetUp { scenario: scenario.name.clone(), reason };
    let simulator =
        Simulator::new(Options { start: spec.start, seed: options.seed, images: spec.cluster.images.clone() });
    let turning = simulator.clone();
    tokio::spawn(async move { turning.run().await });
    for number in 1..=spec.cluster.nodes {
        let added = simulator.add_node(&format!("node-{number}"), &NodeOptions::default());
        added.map_err(|failure| failed(failure.to_string()))?;
    }
    monitoring::begin(&simulator, scenario).map_err(|error| failed(error.to_string()))?;
    let admin = Person::new(&simulator, "system:admin");
    setup::set_up(scenario, &admin).await.map_err(|error| failed(error.to_string()))?;
    let (engine, care) =
        Engine::new(simulator.clone(), spec.engine.clone(), options).map_err(|error| failed(error.to_string()))?;
    tokio::spawn(care);
    engine.start();
    let troubles = Arc::new(Troubles::default());
    simulator.intercept(Some(Arc::clone(&troubles) as Arc<dyn Intercept>));
    let stage = Arc::new(Stage {
        troubles,
        simulator: simulator.clone(),
        engine: Arc::clone(&engine),
        seed: options.seed,
        taken: Mutex::default(),
        seen: Mutex::default(),
        refused: Mutex::default(),
        approvals: Mutex::default(),
    });
    tokio::spawn(monitoring::deliver(Arc::clone(&stage)));
    let until = if options.is_troubled() { spec.until.get() + faults::LONGER.get() } else { spec.until.get() };
    let end = spec.start + until;
    let timeline = timeline(spec.timeline.clone(), options, spec.until);
    let mut health = Health::default();
    let mut next = timeline.iter().peekable();
    loop {
        let now = simulator.clock().now();
        while let Some(event) = next.next_if(|event| spec.start + event.at.get() <= now) {
            let (stage, event) = (Arc::clone(&stage), event.clone());
            // Beside: a drain takes its time.
            tokio::spawn(async move { stage.play(&event).await });
        }
        health.look(&simulator);
        if now >= end {
            break;
        }
        let event = next.peek().map(|event| spec.start + event.at.get());
        let due = [Some(now + LOOK_EVERY), event, Some(end)].into_iter().flatten().min().unwrap_or(end);
        tokio::time::sleep_until(simulator.clock().instant(due)).await;
    }
    Ok(conclude(scenario, options, &stage, health, end).await)
}

/// The events of a run: those of the scenario, moved a little by the seed, and the random ones.
fn timeline(mut events: Vec<Event>, options: RunOptions, until: Span) -> Vec<Event> {
    let by = moved_by(options.seed).num_seconds();
    for event in &mut events {
        // All by the same: what lies between them may be the point.
        let at = i64::try_from(event.at.get().as_secs()).unwrap_or(i64::MAX).saturating_add(by);
        event.at = Span::seconds(u64::try_from(at).unwrap_or_default());
    }
    if options.engine_faults {
        events.extend(faults::draw(options.seed, until));
    }
    events.sort_by_key(|event| event.at);
    events
}

/// By how much a seed moves the scenario's events.
fn moved_by(seed: u64) -> chrono::Duration {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x0074_696d_6573);
    chrono::Duration::seconds(if seed == 0 { 0 } else { random.i64(-SHAKE..=SHAKE) / 1000 })
}

async fn conclude(
    scenario: &Scenario,
    options: RunOptions,
    stage: &Stage,
    health: Health,
    end: DateTime<Utc>,
) -> RunReport {
    let spec = &scenario.spec;
    let (simulator, engine) = (&stage.simulator, &stage.engine);
    let signals: Vec<(DateTime<Utc>, Signal)> = collect::messages(engine.bus(), Stream::Signals).await;
    let proposals: Vec<(DateTime<Utc>, Proposal)> = collect::messages(engine.bus(), Stream::Proposals).await;
    let outcomes = collect::outcomes(engine.bus()).await;
    let remediations: Vec<RemediationSeen> =
        collect::remediations(simulator).iter().map(collect::remediation).collect();
    let mut events = stage.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let disturbed: Vec<DateTime<Utc>> = events.iter().map(|event| event.at).collect();
    let incidents = engine.incidents();
    events.extend(incidents.iter().map(|it| EventSeen { at: it.at, what: format!("{} {}", it.id, it.what) }));
    events.sort_by_key(|event| event.at);
    let health = health.into_series();
    let (broken_at, repaired_at) = repair(&health, disturbed.first().copied());
    let approvals = stage.approvals.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut report = RunReport {
        scenario: scenario.name.clone(),
        file: scenario.file.clone(),
        summary: spec.summary.clone(),
        seed: options.seed,
        engine_faults: options.engine_faults,
        uses: spec.uses.clone(),
        passed: false,
        start: spec.start,
        end,
        signals: signals.iter().map(collect::signal).collect(),
        proposals: proposals.iter().map(collect::proposed).collect(),
        approvals,
        freezes: collect::freezes(simulator),
        writes: collect::writes(simulator, &remediations),
        remediations,
        events,
        health,
        broken_at,
        repaired_at,
        requests: engine.requests(),
        calls: engine.calls(),
        audit: match engine.audit() {
            Some(log) => Some(log.seen().await),
            None => None,
        },
        violations: Vec::new(),
        trace: Vec::new(),
    };
    let taken = stage.taken.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let taken: Vec<_> = taken.into_iter().map(|it| (it.name, it.starts_at)).collect();
    let refused = stage.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut violations: Vec<Violation> = refused.into_iter().map(|what| Violation::new("timeline", what)).collect();
    let judge = Judge { expect: &spec.expect, patient: options.is_troubled(), moved: moved_by(options.seed) };
    violations.extend(judge.look(&report));
    violations.extend(judge::finally(&judge, &report, simulator).await);
    violations.extend(judge::requests(&spec.expect, simulator));
    violations.extend(invariants::violated(&Seen {
        report: &report,
        policies: &scenario.policies,
        mode: spec.engine.mode,
        signals: &signals,
        outcomes: &outcomes,
        taken: &taken,
        disturbed: &disturbed,
        answers: &collect::answers(simulator),
    }));
    let faults = incidents.iter().filter(|it| it.is_fault);
    violations.extend(faults.map(|it| Violation::new("planes run", format!("{} {} at {}", it.id, it.what, it.at))));
    if let Some(failure) = simulator.failure() {
        violations.push(Violation::new("no livelock", failure));
    }
    if let Some(at) = engine.livelock() {
        violations.push(Violation::new("no livelock", format!("more requests at {at} than any work needs")));
    }
    report.passed = violations.is_empty();
    report.violations = violations;
    report.trace = trace::lines(&report, simulator);
    report
}

/// Since when something was not well after the first event, and since when all was for good.
fn repair(health: &[HealthSeries], first: Option<DateTime<Utc>>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let Some(first) = first else { return (None, None) };
    let workloads = || health.iter().filter(|series| !series.object.starts_with("node/"));
    let broken = workloads().flat_map(|series| &series.points).filter(|point| !point.well && point.at >= first);
    let Some(broken) = broken.map(|point| point.at).min() else { return (None, None) };
    let ends: Vec<_> = workloads().filter_map(|series| series.points.last()).collect();
    let repaired = ends.iter().all(|point| point.well).then(|| ends.iter().map(|point| point.at).max()).flatten();
    (Some(broken), repaired.filter(|at| *at > broken))
}
