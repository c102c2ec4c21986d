//! `tidegate rollout`: looks at rollouts of a gateway that runs, and tells them what to do.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | it was done, or shown |
//! | 1 | the gateway refused it, or a decision that is explained does not follow again from its journal |
//! | 2 | the command line is not understood |
//! | 3 | the gateway cannot be reached, or cannot do it now |
//!
//! The gateway is the one of the configuration (`server.admin`) unless `--admin` names another, which may be on another
//! machine; its token then comes from `--token-file` or the variables that the gateway reads.
//!
//! `explain --from` asks no gateway: it makes the decisions of an explanation that was kept again by itself.
//!
//! Invariant: with `--json` what is printed is what the gateway answered, every member of it; of an explanation that was
//! kept it is the same with what its decisions come to here.

mod explain;
mod show;
#[cfg(test)]
mod tests;
mod words;

use super::admin_port::{AdminPort, PortError, TOKEN_VARIABLE, VIEWER_TOKEN_VARIABLE, gateway_url, token};
use super::{ServeArgs, say_error};
use crate::config::{Config, Secret};
use crate::rollout::explain::explain_again;
use crate::rollout::{Explanation, RolloutView};
use clap::{Args, Subcommand};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// The exit code of what the gateway refuses.
const REFUSED: u8 = 1;
/// The exit code of what may be done later.
const NOT_NOW: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct RolloutArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(Debug, Args)]
struct GatewayArgs {
    /// Admin address of the gateway, or a URL [default: server.admin of the configuration]. If it has a token, that is read
    /// from --token-file, TIDEGATE_ADMIN_TOKEN or the configuration; to look TIDEGATE_ADMIN_VIEWER_TOKEN is enough.
    #[arg(long, global = true, value_name = "ADDR")]
    admin: Option<String>,
    /// Configuration file (TOML) of the gateway.
    #[arg(long, global = true, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// File that holds the gateway's admin token.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print what the gateway answers.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The latest rollout of every model.
    List,
    /// One model's: where it stands, why, and what it needs to go on.
    Show {
        /// The model.
        model: String,
    },
    /// Begin one, to the version that is wanted or to another one.
    Start {
        /// The model.
        model: String,
        /// The version [default: what the registry or the directory wants].
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Answer a question at a fixed share and move nothing: errors, latency, or output/<column>, a column's mean.
        #[arg(long, value_name = "QUESTION", requires = "weight")]
        test: Option<String>,
        /// The fixed share, percent.
        #[arg(long, value_name = "PERCENT", requires = "test")]
        weight: Option<f64>,
        #[command(flatten)]
        bound: Bound,
    },
    /// Stay at this share. Guards stay armed.
    Pause {
        /// The model.
        model: String,
        #[command(flatten)]
        bound: Bound,
    },
    /// Go on: after a pause, past a gate, or past a step without a verdict.
    Resume {
        /// The model.
        model: String,
        #[command(flatten)]
        bound: Bound,
    },
    /// Give the new version all traffic now. Guards stay armed.
    Promote {
        /// The model.
        model: String,
        #[command(flatten)]
        bound: Bound,
    },
    /// Take the new version's share away, wherever the rollout stands.
    Abort {
        /// The model.
        model: String,
    },
    /// Every entry of its journal, with the evidence of each decision, made again.
    Explain {
        /// The model.
        #[arg(required_unless_present = "from")]
        model: Option<String>,
        /// Of an earlier rollout [default: the latest].
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Make the decisions of an explanation again that was kept (explain --json), here and without a gateway.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "id"])]
        from: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Bound {
    /// Only if the rollout is as it was shown with this generation.
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
}

/// Why a command did not do its job, and with which code it ends.
struct Failed {
    code: u8,
    reason: String,
}

/// What a command asks, and how its answer is read.
struct Ask<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, &'a str)>,
    body: Option<Value>,
    form: Form,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    List,
    Rollout,
    Explanation,
}

/// Does what was asked for.
pub(super) fn run(args: &RolloutArgs) -> ExitCode {
    match carry_out(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, reason }) => {
            say_error(&reason);
            ExitCode::from(code)
        }
    }
}

fn carry_out(args: &RolloutArgs) -> Result<(), Failed> {
    let (form, answer) = match &args.command {
        Command::Explain { from: Some(file), .. } => (Form::Explanation, made_again(file).map_err(Failed::refused)?),
        command => gateway_says(command, &args.gateway)?,
    };
    if args.gateway.json {
        print(&format!("{answer:#}"))?;
    }
    let (text, odd) = told(form, answer).map_err(Failed::refused)?;
    if !args.gateway.json {
        print(text.trim_end())?;
    }
    match odd {
        0 => Ok(()),
        odd => Err(Failed::refused(format!("{odd} decisions do not follow again from what the journal says of them"))),
    }
}

/// What the gateway says to a command.
fn gateway_says(command: &Command, gateway: &GatewayArgs) -> Result<(Form, Value), Failed> {
    let ask = Ask::of(command);
    let port = port(gateway, ask.method == Method::GET).map_err(Failed::refused)?;
    let runtime = super::serve::control_runtime().map_err(Failed::refused)?;
    let query = (ask.path.as_slice(), ask.query.as_slice());
    let answer = runtime.block_on(port.ask(ask.method, query, ask.body.as_ref())).map_err(Failed::of)?;
    Ok((ask.form, answer))
}

/// An explanation that was kept in a file, its decisions made again.
fn made_again(file: &Path) -> Result<Value, String> {
    let unusable = |cause: &dyn Display| format!("{}: {cause}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| unusable(&error))?;
    let kept: Explanation = serde_json::from_str(&text)
        .map_err(|error| unusable(&format!("not what `tidegate rollout explain --json` prints: {error}")))?;
    let again = explain_again(&kept).map_err(|error| unusable(&error))?;
    serde_json::to_value(again).map_err(|error| unusable(&error))
}

/// Prints a text; a reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failed::refused(format!("cannot print: {error}"))),
        _ => Ok(()),
    }
}

/// An answer for people, and how many decisions of it do not follow again from their journal.
fn told(form: Form, answer: Value) -> Result<(String, usize), String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Ok(match form {
        Form::List => (show::list(&rollouts_of(answer)?, now), 0),
        Form::Rollout => (show::rollout(&read::<RolloutView>(answer)?, now), 0),
        Form::Explanation => {
            let explanation: Explanation = read(answer)?;
            (explain::text(&explanation), explain::not_identical(&explanation))
        }
    })
}

fn rollouts_of(mut answer: Value) -> Result<Vec<RolloutView>, String> {
    read(answer["rollouts"].take())
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, String> {
    serde_json::from_value(answer)
        .map_err(|error| format!("the answer is not understood: {error}; is the gateway of another release?"))
}

impl<'a> Ask<'a> {
    fn of(command: &'a Command) -> Self {
        match command {
            Command::List => Self::look(&[], Form::List),
            Command::Show { model } => Self::look(&[model], Form::Rollout),
            Command::Explain { model, id, .. } => {
                let query = id.iter().map(|id| ("id", id.as_str())).collect();
                // There is one where no file is.
                Self { query, ..Self::look(&[model.as_deref().unwrap_or_default(), "explain"], Form::Explanation) }
            }
            Command::Start { model, version, test, weight, bound } => {
                let test = test.as_ref().map(|question| json!({ "question": question, "weight": weight }));
                let said = json!({ "version": version, "test": test, "generation": bound.generation });
                Self::order(model, "start", said)
            }
            Command::Pause { model, bound } => Self::bound_order(model, "pause", bound),
            Command::Resume { model, bound } => Self::bound_order(model, "resume", bound),
            Command::Promote { model, bound } => Self::bound_order(model, "promote", bound),
            Command::Abort { model } => Self::order(model, "abort", json!({})),
        }
    }

    fn look(rest: &[&'a str], form: Form) -> Self {
        let path = [&["api", "v1", "rollouts"], rest].concat();
        Self { method: Method::GET, path, query: Vec::new(), body: None, form }
    }

    fn bound_order(model: &'a str, order: &'static str, bound: &Bound) -> Self {
        Self::order(model, order, json!({ "generation": bound.generation }))
    }

    /// An order, with what is said of it; what is not said is left out.
    fn order(model: &'a str, order: &'static str, mut said: Value) -> Self {
        if let Some(said) = said.as_object_mut() {
            said.retain(|_, value| !value.is_null());
        }
        Self { method: Method::POST, body: Some(said), ..Self::look(&[model, order], Form::Rollout) }
    }
}

/// The gateway that is meant, with a token for who looks or for who changes something.
fn port(args: &GatewayArgs, only_looks: bool) -> Result<AdminPort, String> {
    let variables: &[&str] = if only_looks { &[TOKEN_VARIABLE, VIEWER_TOKEN_VARIABLE] } else { &[TOKEN_VARIABLE] };
    let found = token(args.token_file.as_deref(), variables)?;
    if let Some(given) = &args.admin {
        return AdminPort::new(address(given)?, found);
    }
    let serve = ServeArgs { config: args.config.clone(), ..ServeArgs::default() };
    let config = super::serve::load_config(&serve)
        .map_err(|problems| format!("{problems}\n--admin ADDR names a gateway without these settings"))?;
    let found = found.or_else(|| configured_token(&config, only_looks));
    AdminPort::new(address(&reachable(config.server.admin).to_string())?, found)
}

fn configured_token(config: &Config, only_looks: bool) -> Option<String> {
    let viewer = config.server.admin_viewer_token.as_ref().filter(|_| only_looks);
    config.server.admin_token.as_ref().or(viewer).map(Secret::expose).map(str::to_owned)
}

/// Where a gateway is reached that listens on every address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A URL, or an address and a port.
fn address(text: &str) -> Result<Url, String> {
    if text.contains("://") { gateway_url("--admin", text) } else { gateway_url("--admin", &format!("http://{text}")) }
}

impl Failed {
    fn refused(reason: String) -> Self {
        Self { code: REFUSED, reason }
    }

    fn of(error: PortError) -> Self {
        let code = match error {
            PortError::Unreachable { .. } | PortError::Unavailable { .. } => NOT_NOW,
            PortError::Refused { .. } | PortError::Unusable(_) => REFUSED,
        };
        Self { code, reason: error.to_string() }
    }
}
