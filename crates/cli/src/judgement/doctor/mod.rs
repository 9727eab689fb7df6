//! `supple doctor`: what is missing or misconfigured, each with its cure.
//!
//! [`cluster`]: what the cluster is, and what is installed in it. [`access`]: what our account may do. [`seen`]: what a look
//! with the eyes of the loop finds.

mod access;
mod cluster;
mod seen;

use std::io::Write as _;

use clap::{Args, ValueEnum};
use serde::Serialize;
use supple_controller::once;

pub use access::unseen;

use super::acting::Acting;
use super::{LoopArgs, PATIENCE, settings};
use crate::args::ConnectionArgs;
use crate::connect::{chain, connect};
use crate::exit::Failure;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub told: LoopArgs,
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_default_value = true)]
    pub output: DoctorOutput,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// As it should be.
    Good,
    /// It works, and could be better; or it could not be found out.
    Note,
    /// Something does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    /// What.
    what: &'static str,
    /// How it is.
    state: State,
    /// In a sentence.
    says: String,
    /// What to do about it; empty: nothing.
    cure: String,
}

impl Finding {
    fn good(what: &'static str, says: impl Into<String>) -> Self {
        Self { what, state: State::Good, says: says.into(), cure: String::new() }
    }

    fn note(what: &'static str, says: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { what, state: State::Note, says: says.into(), cure: cure.into() }
    }

    fn bad(what: &'static str, says: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { what, state: State::Bad, says: says.into(), cure: cure.into() }
    }
}

/// Look at everything.
pub async fn doctor(args: DoctorArgs) -> Result<(), Failure> {
    let client = connect(&args.connection).await?.client;
    let mut findings = vec![cluster::version(&client).await?];
    findings.push(cluster::resize(&client).await);
    let acting = Acting::find(&client).await;
    let (installed, found) = cluster::installed(&acting);
    findings.push(found);
    findings.extend(access::look(&client, installed.as_ref()).await);
    findings.extend(cluster::webhooks(&client, installed.as_ref(), &acting).await);
    let cure = "grant get, list and watch on these resources, as the chart's ClusterRole does";
    match unseen(&client).await {
        Ok(Some(unseen)) => {
            findings.push(Finding::bad("reading", format!("cannot read the cluster: {unseen}"), cure));
        }
        Err(error) => {
            let says = format!("cannot read the cluster: {}", chain(&error));
            findings.push(Finding::bad("reading", says, "run this again; if it stays so, see the API server's log"));
        }
        Ok(None) => match once::look(&client, settings(&acting, args.told), &jiff::Timestamp::now, PATIENCE).await {
            Ok(world) => findings.extend(seen::seen(&world)),
            Err(error) => findings.push(Finding::bad("reading", error.to_string(), cure)),
        },
    }
    print(&findings, args.output)?;
    let bad = findings.iter().filter(|it| it.state == State::Bad).count();
    if bad == 0 { Ok(()) } else { Err(Failure::Refused(None)) }
}

fn print(findings: &[Finding], output: DoctorOutput) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        DoctorOutput::Json => {
            serde_json::to_writer_pretty(&mut out, &findings).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        DoctorOutput::Text => {
            let width = findings.iter().map(|it| it.what.len()).max().unwrap_or(0);
            for Finding { what, state, says, cure } in findings {
                let mark = match state {
                    State::Good => "ok  ",
                    State::Note => "note",
                    State::Bad => "BAD ",
                };
                writeln!(out, "{mark}  {what:<width$}  {says}")?;
                if !cure.is_empty() {
                    writeln!(out, "      {:width$}  → {cure}", "")?;
                }
            }
            let count = |state: State| findings.iter().filter(|it| it.state == state).count();
            let (notes, bad) = (count(State::Note), count(State::Bad));
            writeln!(out, "\n{} checks: {notes} to note, {bad} failed", findings.len())?;
        }
    }
    Ok(())
}

/// The first few of many, and how many more there are.
fn first_of(mut all: Vec<Finding>, most: usize) -> Vec<Finding> {
    let more = all.len().saturating_sub(most);
    all.truncate(most);
    if let Some(last) = all.last_mut().filter(|_| more > 0) {
        last.says += &format!(" (and {more} more like it)");
    }
    all
}
