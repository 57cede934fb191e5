//! What the engine would do, before it does it: scenario files and their runner, backtests, reports.
