use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::Serialize;

use super::changes::{Change, changes};
use super::compare::{Came, Comparison, Differing};
use super::engine::Engine;
use super::recording::{Account, Recorded, Recording, RecordingError};
use super::rules::Rules;
use super::totals::Totals;
use super::{Assume, Settings, assumptions};

/// Signals handed on at once.
const BATCH: usize = 1_024;
/// Batches on their way.
const UNDER_WAY: usize = 8;

/// Which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// Today's playbooks and policies.
    Before,
    /// The changed ones.
    After,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The recording can't be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// One side came to no end.
    #[error("putting the recording through the rules failed")]
    Failed,
}

/// What a backtest found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdicts {
    /// What was read.
    pub recording: Account,
    /// What was taken for facts.
    pub assume: Assume,
    /// What was assumed, for people.
    pub assumptions: Vec<String>,
    /// What was changed in playbooks and policies.
    pub changes: Vec<Change>,
    /// Figures of today's rules.
    pub before: Totals,
    /// Figures of the changed ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Totals>,
    /// Incidents that came to the same on both sides.
    pub same: u64,
    /// Incidents that did not.
    pub different: u64,
    /// Those, by class.
    pub differing: Vec<Differing>,
    /// Incidents beyond the classes that are kept.
    pub beyond: u64,
    /// Without changed rules: what incidents came to, by class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub came_to: Vec<Came>,
}

/// Puts a recording through rules, and through changed ones beside them.
///
/// # Errors
/// [`BacktestError`] when the recording can't be read.
pub fn backtest(
    mut recording: Recording<'_>,
    before: &Rules,
    after: Option<&Rules>,
    settings: &Settings,
) -> Result<Verdicts, BacktestError> {
    let changed = after.map(|after| changes(before, after)).unwrap_or_default();
    let (before_totals, after_totals, comparison) = thread::scope(|scope| {
        let (courses, collected) = sync_channel(UNDER_WAY);
        let side = |side: Side, rules| {
            let (batches, received) = sync_channel(UNDER_WAY);
            let courses = courses.clone();
            (batches, scope.spawn(move || play(side, rules, settings, &received, &courses)))
        };
        let (to_before, before) = side(Side::Before, before);
        let after = after.map(|rules| side(Side::After, rules));
        let (two, changed) = (after.is_some(), &changed);
        let collector = scope.spawn(move || {
            let mut comparison = Comparison::new(two, changed);
            for (side, found) in collected {
                for course in found {
                    comparison.take(side, course);
                }
            }
            comparison
        });
        let mut sides: Vec<&SyncSender<Arc<Vec<Recorded>>>> = vec![&to_before];
        sides.extend(after.as_ref().map(|(batches, _)| batches));
        let read = feed(&mut recording, &sides);
        // The end of the batches is the end of the recording.
        drop(to_before);
        let after = after.map(|(batches, side)| {
            drop(batches);
            side
        });
        drop(courses);
        let before = before.join().map_err(|_| BacktestError::Failed)?;
        let after = after.map(|side| side.join().map_err(|_| BacktestError::Failed)).transpose()?;
        let comparison = collector.join().map_err(|_| BacktestError::Failed)?;
        read?;
        Ok::<_, BacktestError>((before, after, comparison))
    })?;
    let account = recording.account().clone();
    let sides: Vec<&Rules> = std::iter::once(before).chain(after).collect();
    let found = comparison.finish();
    Ok(Verdicts {
        assume: settings.assume,
        assumptions: assumptions(settings, &account, &sides),
        recording: account,
        changes: changed,
        before: before_totals,
        after: after_totals,
        same: found.same,
        different: found.different,
        differing: found.differing,
        beyond: found.beyond,
        came_to: found.came_to,
    })
}

fn feed(recording: &mut Recording<'_>, sides: &[&SyncSender<Arc<Vec<Recorded>>>]) -> Result<(), BacktestError> {
    loop {
        let batch = recording.next_batch(BATCH)?;
        if batch.is_empty() {
            return Ok(());
        }
        let batch = Arc::new(batch);
        for side in sides {
            side.send(Arc::clone(&batch)).map_err(|_| BacktestError::Failed)?;
        }
    }
}

/// One side, on a thread of its own.
fn play(
    side: Side,
    rules: &Rules,
    settings: &Settings,
    batches: &Receiver<Arc<Vec<Recorded>>>,
    courses: &SyncSender<(Side, Vec<super::Course>)>,
) -> Totals {
    let mut engine = Engine::new(rules, settings);
    for batch in batches {
        for recorded in batch.iter() {
            engine.take(recorded);
        }
        // Whoever collects has ended only when the whole run has.
        if courses.send((side, engine.courses())).is_err() {
            break;
        }
    }
    let totals = engine.finish();
    let _ = courses.send((side, engine.courses()));
    totals
}
