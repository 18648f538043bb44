//! `imager flash`: gathers what the options name, shows the plan, asks, hands it to [`crate::flash`], records and tells what came of each drive.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use globset::{Glob, GlobMatcher};
use jiff::Timestamp;

mod args;
mod choose;
mod record;
mod report;
mod row;
mod signals;
mod watch;

pub(super) use args::FlashArgs;

use super::ui::Ui;
use super::{Interrupted, Usage};
use crate::flash::device::RealDrives;
use crate::flash::engine::{self, Options};
use crate::flash::facts::{Kept, Roots};
use crate::flash::guard::Policy;
use crate::flash::outcome::{Outcome, Reason};
use crate::flash::plan::{Plan, plan};
use crate::flash::record::append::AppendError;
use crate::flash::stop::Stop;
use crate::flash::target::{Discard, Drives};
use crate::progress::{Event, Progress};
use record::Records;
use signals::Signals;
use watch::Watch;

/// Flashes drives.
pub(super) fn run(json: bool, args: &FlashArgs, ui: &Ui) -> Result<()> {
    let mut policy = policy(args)?;
    let records = Records::open(args)?;
    policy
        .kept
        .extend([&args.record, &args.station_key, &args.inventory].into_iter().flatten().filter_map(|path| Kept::of(path)));
    let pairs = choose::pairs(args, &records, &mut policy, &Roots::default(), ui)?;
    let plan = plan(pairs, &policy);
    if args.dry_run {
        ui.done(&plan.report(), &plan.to_string());
        return refused_alone(&plan);
    }
    confirm(&plan, args.yes)?;
    let (outcomes, unrecorded) = flash(json, args, policy.discard, plan, &records, ui)?;
    ui.done(&report::report(&outcomes), &report::summary(&outcomes));
    if let Some(error) = unrecorded {
        return Err(anyhow::Error::from(error).context("the drives are written, but not all of them are in the log"));
    }
    verdict(&outcomes)
}

/// What the program ends with.
fn verdict(outcomes: &[Outcome]) -> Result<()> {
    let stopped = |outcome: &&Outcome| matches!(&outcome.result, Err(failure) if failure.reason == Reason::Interrupted);
    let failed = outcomes.iter().filter(|outcome| !outcome.is_good()).count();
    match (failed, outcomes.iter().filter(stopped).count()) {
        (0, _) => Ok(()),
        (_, 0) => bail!("{failed} of {} drives failed; each says why above", outcomes.len()),
        (_, stopped) => {
            let of = outcomes.len();
            Err(Interrupted::new(format!("stopped: {stopped} of {of} drives are not proved; each says so above")).into())
        }
    }
}

fn refused_alone(plan: &Plan) -> Result<()> {
    match plan.refused.len() {
        0 => Ok(()),
        count => bail!("{count} of {} drives would be refused; each says why above", count + plan.jobs.len()),
    }
}

fn policy(args: &FlashArgs) -> Result<Policy> {
    let real = |path: &PathBuf| path.canonicalize().with_context(|| format!("cannot use --allow-fixed {}", path.display()));
    let fixed = args.allow_fixed.iter().map(real).collect::<Result<_>>()?;
    let ports = args.port.iter().map(|pattern| port(pattern)).collect::<Result<_>>()?;
    let discard = if args.no_discard { Discard::Never } else { Discard::Allowed };
    Ok(Policy { max_bytes: args.max_bytes(), fixed, kept: Vec::new(), discard, ports })
}

fn port(pattern: &str) -> Result<GlobMatcher> {
    let glob = Glob::new(pattern).map_err(|error| Usage::new(format!("cannot use --port {pattern}: {error}")))?;
    Ok(glob.compile_matcher())
}

/// Shows what will be lost, and asks whether that is meant.
fn confirm(plan: &Plan, yes: bool) -> Result<()> {
    if yes || plan.jobs.is_empty() {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Usage::new("cannot ask whether these drives are meant: there is no terminal; add --yes, after --dry-run").into()
        );
    }
    let mut out = std::io::stderr();
    write!(out, "{plan}All that is on {} drives is lost. Type yes to go on: ", plan.jobs.len()).context("cannot ask")?;
    out.flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => bail!("nothing was written: the answer was not `yes`"),
    }
}

/// What came of the drives, and why not all of them are in the log.
fn flash(
    json: bool,
    args: &FlashArgs,
    discard: Discard,
    plan: Plan,
    records: &Records,
    ui: &Ui,
) -> Result<(Vec<Outcome>, Option<AppendError>)> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| anyhow!("cannot get random bytes: {error}"))?;
    let options = Options { discard, patience: args.patience(), nonce, stop: Stop::default() };
    let _signals = Signals::ask(&options.stop)?;
    let mut watch = Watch::new(json, &plan.jobs, records);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for refused in &plan.refused {
        let outcome = engine::refused(refused, Timestamp::now());
        watch.refused(&outcome, refused.image.manifest.as_ref());
        outcomes.push(outcome);
    }
    let drives: Arc<dyn Drives> = Arc::new(RealDrives::default());
    outcomes.extend(engine::run(plan.jobs, &drives, &options, &mut watch));
    let (told, unrecorded) = watch.finish();
    for message in &told {
        ui.event(Event::Warn { message });
    }
    Ok((outcomes, unrecorded))
}

#[cfg(test)]
mod tests;
