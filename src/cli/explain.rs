//! `tidegate explain alarm`: the budget of false pages, and everything that follows from it.
//!
//! Nothing is measured: the numbers are those that a gateway with the same settings and profile works with.
//!
//! Invariant: what is printed comes from the same plan and alarms that the judge uses.

use super::{ExplainAlarmArgs, say};
use crate::config::{Config, DriftSettings};
use crate::detect::alarm::{AlarmPlan, AlarmSettings, ColumnAlarm};
use crate::judge::alarm_shares;
use crate::profile::{Column, Profile};
use crate::registry::PROFILE_FILE;
use std::path::Path;

/// Prints the plan, and with a version's directory what it makes of each column.
pub(super) fn run(args: &ExplainAlarmArgs) -> Result<(), String> {
    let drift = settings(args)?;
    let settings = AlarmSettings {
        false_pages_per_month: args.false_pages_per_month.unwrap_or(drift.false_pages_per_month),
        tolerance_psi: drift.tolerance,
        effect_floor: drift.effect_floor,
    };
    let profile = args.model.as_deref().map(read_profile).transpose()?;
    let shares = profile.as_ref().map(|profile| shares(profile, &drift)).or(args.columns);
    let shares = shares.ok_or("name a version's directory (--model) or a number of columns (--columns)")?;
    let plan = AlarmPlan::new(&settings, shares);
    plan.explain().iter().for_each(|line| say(line));
    for column in profile.iter().flat_map(|profile| profile.inputs.iter().chain(&profile.outputs)) {
        match ColumnAlarm::new(&plan, &column.reference()) {
            Some(alarm) => say(&format!("{:<24}{}", column.name, alarm.explain())),
            None => say(&format!("{:<24}not judged: its reference has no rows", column.name)),
        }
    }
    Ok(())
}

/// The shares that the judge divides the budget by.
fn shares(profile: &Profile, drift: &DriftSettings) -> usize {
    let has_rows = |column: &&Column| column.reference().counts.iter().any(|&count| count > 0);
    let is_critical = |column: &Column| column.critical || drift.critical.contains(&column.name);
    let features: Vec<&Column> = profile.inputs.iter().filter(has_rows).collect();
    let of_features = features.iter().map(|column| alarm_shares(true, is_critical(column), features.len()));
    of_features.sum::<usize>() + profile.outputs.iter().filter(has_rows).count()
}

fn settings(args: &ExplainAlarmArgs) -> Result<DriftSettings, String> {
    let Some(path) = &args.config else { return Ok(DriftSettings::default()) };
    let config: Config = super::serve::config_of_file(path)?;
    Ok(match &args.name {
        Some(name) => config.model(name).drift,
        None => config.drift,
    })
}

fn read_profile(directory: &Path) -> Result<Profile, String> {
    let path = directory.join(PROFILE_FILE);
    let text = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Profile::from_json(&text).map_err(|error| format!("{}: {error}", path.display()))
}
