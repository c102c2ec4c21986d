//! The commands: what a person types, turned into calls of the rooms.
//!
//! | command | what |
//! |---|---|
//! | `tidegate [serve]` | serve `./models`, or what the configuration says |
//! | `tidegate doctor` | look at settings, engines, models, disks and the registry, and say what to do |
//! | `tidegate profile` | write a version's reference profile from rows of training data |
//! | `tidegate golden` | write the answers that a version must give, from requests |
//! | `tidegate report` | fetch what a model looks like from a running gateway, as a page or as JSON |
//! | `tidegate rollout` | look at the rollouts of a running gateway, explain them, tell them what to do |
//! | `tidegate explain alarm` | the budget of false pages and what follows from it: thresholds, starts, tolerance |
//! | `tidegate merge` | add up what several replicas counted, or profiles of parts of a data set |
//! | `tidegate manifest` | write which files a version is made of, so that no half of it is ever loaded |
//! | `tidegate demo` | the whole job in a minute: canary, swap, drift alert, on free ports |
//! | `tidegate draws` | rows of the demo's customers, as CSV |
//!
//! Values of flags that are settings stay text here, so that the configuration reports their problems with all others.
//!
//! Invariant: this room alone writes to standard output, and a command's exit code says whether it did its job.

mod admin_port;
mod demo;
mod doctor;
pub mod draws;
mod explain;
mod golden;
mod manifest;
mod merge;
mod profile;
mod report;
mod rollout;
mod serve;

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// A model inference gateway with monitoring built in.
///
/// Serves ONNX models over HTTP, swaps and splits versions while serving, sketches every feature and prediction, and
/// raises drift and latency alerts from the serving process. Without arguments it serves ./models.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve models (the default).
    Serve(ServeArgs),
    /// Look at everything that serving needs, and say what is wrong and what to do about it.
    Doctor(DoctorArgs),
    /// Write VERSION_DIR/profile.json, the reference that live traffic is compared with.
    Profile(ProfileArgs),
    /// Write VERSION_DIR/golden.json: answers of the model as it is, without which no version that has the file serves.
    Golden(GoldenArgs),
    /// Fetch a model's drift report from a running gateway: one page with pictures, or JSON.
    Report(ReportArgs),
    /// Look at rollouts of a running gateway, explain their decisions, and tell them what to do.
    ///
    /// Ends with 0 when it is done, 1 when it is refused, 3 when the gateway cannot be reached or cannot do it now.
    Rollout(rollout::RolloutArgs),
    /// Say how something is decided.
    #[command(subcommand)]
    Explain(Explain),
    /// Add up what several replicas counted, or reference profiles of parts of a data set on the same edges.
    Merge(MergeArgs),
    /// Write VERSION_DIR/manifest.json, by which a copy of the version that is not whole is told from one that is.
    Manifest(ManifestArgs),
    /// Show the whole job in about a minute, on free ports: predictions, canary, swap, drift alert.
    Demo(DemoArgs),
    /// Print rows of the demo's customers as CSV.
    Draws(DrawsArgs),
}

/// Flags override environment variables, which override the file.
#[derive(Debug, Clone, Default, Args)]
struct ServeArgs {
    /// Configuration file (TOML).
    #[arg(long, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model repository: <model>/<version>/model.onnx [default: ./models].
    #[arg(long, value_name = "DIR")]
    models: Option<OsString>,
    /// Address of the data plane [default: 127.0.0.1:8000].
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Address of metrics and the admin API [default: 127.0.0.1:8002].
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Threads that serve requests [default: one per core].
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Shared library of ONNX Runtime [default: looked for].
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<OsString>,
    /// Directory of what outlives the process: windows, alarms, alerts [default: ./state].
    #[arg(long, value_name = "DIR")]
    state: Option<OsString>,
    /// Form of log lines: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Least severe level that is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Where MLflow reaches this gateway [default: http://<server.admin>/hooks/mlflow].
    #[arg(long, value_name = "URL", value_parser = doctor::webhook_url)]
    webhook_url: Option<reqwest::Url>,
    /// Name of the webhook at MLflow; gateways of one registry need different ones.
    #[arg(long, value_name = "NAME", default_value = "tidegate", value_parser = doctor::webhook_name)]
    webhook_name: String,
    /// Make or change MLflow's webhook so that it is as it should be. Nothing else is ever changed.
    #[arg(long)]
    repair: bool,
    /// Do not load models.
    #[arg(long)]
    no_load: bool,
    /// Print one JSON object: {"healthy":…,"counts":{…},"checks":[{"check","status","found","expected"?,"remedy"?}]}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ProfileArgs {
    /// The version's directory, which holds model.onnx.
    #[arg(long, value_name = "VERSION_DIR", required_unless_present = "schema")]
    model: Option<PathBuf>,
    /// Rows of training data as CSV, whose header line names the features, or as Parquet. May be larger than memory and
    /// is then read twice.
    #[arg(long, value_name = "FILE", required_unless_present = "schema")]
    data: Option<PathBuf>,
    /// Format of the data [default: parquet if the name ends so, else csv].
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<profile::Format>,
    /// Names of the features in the model's order; columns that differ are refused [default: those of the profile.json
    /// that is there, else the header's].
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    features: Vec<String>,
    /// Columns that are no features, such as labels.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    ignore: Vec<String>,
    /// Column of the rows' times, which is no feature: RFC 3339, seconds since 1970, or Parquet's timestamps. Keeps
    /// counts by hour of the week, for traffic that follows it.
    #[arg(long, value_name = "NAME")]
    time: Option<String>,
    /// Number columns that are codes of categories, without an order.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    categorical: Vec<String>,
    /// Features whose drift alone is drift of the version.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    critical: Vec<String>,
    /// Wider tensors are profiled by statistics of each row; as the setting drift.max_features.
    #[arg(long, default_value_t = 512, value_name = "N")]
    max_features: usize,
    /// Quantile bins per numeric feature, up to 256.
    #[arg(long, default_value_t = 64, value_name = "N")]
    bins: usize,
    /// Shared library of ONNX Runtime [default: looked for].
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Print the JSON Schema of profile.json instead.
    #[arg(long, conflicts_with_all = ["model", "data"])]
    schema: bool,
}

#[derive(Debug, Args)]
struct GoldenArgs {
    /// The version's directory, which holds model.onnx.
    #[arg(long, value_name = "VERSION_DIR")]
    model: PathBuf,
    /// A request, as it is posted to /v2/models/<model>/infer, or a list of them, as JSON.
    #[arg(long, value_name = "FILE")]
    rows: PathBuf,
    /// How far a number may be from the answer [default: 1e-6 for floats, and whole numbers exact].
    #[arg(long, value_name = "NUMBER")]
    absolute: Option<f64>,
    /// The same, as a part of the answer [default: 1e-5 for floats].
    #[arg(long, value_name = "NUMBER")]
    relative: Option<f64>,
    /// Shared library of ONNX Runtime [default: looked for].
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Explain {
    /// When an alarm is raised: the budget of false pages, thresholds, starts, tolerance, effect floor.
    Alarm(ExplainAlarmArgs),
}

#[derive(Debug, Args)]
struct ExplainAlarmArgs {
    /// The version's directory, which holds profile.json.
    #[arg(long, value_name = "VERSION_DIR")]
    model: Option<PathBuf>,
    /// Without a profile: how many features and outputs share the budget.
    #[arg(long, value_name = "N", conflicts_with = "model")]
    columns: Option<usize>,
    /// Configuration file (TOML) to take the settings from.
    #[arg(long, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The model's name in the configuration, if it has settings of its own.
    #[arg(long, value_name = "NAME", requires = "config")]
    name: Option<String>,
    /// Another budget than that of the settings.
    #[arg(long, value_name = "PAGES")]
    false_pages_per_month: Option<f64>,
}

#[derive(Debug, Args)]
struct MergeArgs {
    /// Live profiles, as GET /api/v1/models/<model>/profile answers them, or files of the form of profile.json. In any
    /// order; a live profile that comes twice, or an older one of the same replica, counts once.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the merged file goes [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The version's profile.json: print how far the merged counts are from it.
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Print distances as JSON, with every digit.
    #[arg(long, requires = "reference")]
    json: bool,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// Admin address of the gateway. If it has a token, that is read from --token-file, TIDEGATE_ADMIN_VIEWER_TOKEN or
    /// TIDEGATE_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8002")]
    url: String,
    /// The model.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Only this version [default: every loaded one].
    #[arg(long, value_name = "N")]
    version: Option<String>,
    /// What it is written as.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "html")]
    format: report::Format,
    /// Show the names of categories, which are values of the training data; nothing else of it is ever shown.
    #[arg(long)]
    names: bool,
    /// Where it is written [default: standard output].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// File that holds the gateway's admin token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ManifestArgs {
    /// The version's directory, which holds model.onnx.
    #[arg(value_name = "VERSION_DIR")]
    directory: PathBuf,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Seed of the draws.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct DrawsArgs {
    /// How many rows.
    #[arg(long, default_value_t = 1000)]
    rows: usize,
    /// Seed of the draws.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Add the column `churned`.
    #[arg(long)]
    with_label: bool,
}

/// Runs what the process was started for.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Doctor(args)) => return doctor::run(&args),
        Some(Command::Profile(args)) => profile::run(&args),
        Some(Command::Golden(args)) => golden::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Rollout(args)) => return rollout::run(&args),
        Some(Command::Explain(Explain::Alarm(args))) => explain::run(&args),
        Some(Command::Merge(args)) => merge::run(&args),
        Some(Command::Manifest(args)) => manifest::run(&args),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Draws(args)) => print_draws(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say_error(&reason);
            ExitCode::FAILURE
        }
    }
}

fn print_draws(args: &DrawsArgs) -> Result<(), String> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    draws::write_csv(&mut out, args.seed, args.rows, args.with_label)
        .and_then(|()| std::io::Write::flush(&mut out))
        .map_err(|error| format!("cannot write the rows: {error}"))
}

#[expect(clippy::print_stderr, reason = "a command's last word goes to its user")]
fn say_error(reason: &str) {
    eprintln!("error: {reason}");
}

/// Says something to the user of a command.
#[expect(clippy::print_stdout, reason = "a command's output goes to its user")]
fn say(text: &str) {
    println!("{text}");
}
