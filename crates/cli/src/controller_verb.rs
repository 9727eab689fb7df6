//! `supple controller`: the loop on any cluster, its table on a terminal, its log everywhere.

use std::sync::Arc;

use supple_controller::judge::Policy;
use supple_controller::run::{self, Clock, Options};
use supple_controller::snapshot::Snapshot;
use tokio::sync::watch;

use crate::args::ControllerArgs;
use crate::connect::{Connection, chain, connect};
use crate::exit::Failure;
use crate::log::LogLines;
use crate::{live, signals, up};

/// Run it until a signal.
pub async fn controller(args: ControllerArgs, logs: &LogLines) -> Result<(), Failure> {
    let ControllerArgs { connection, interval, min_pod_age } = args;
    let stop = signals::stop_token()?;
    let Connection { client, .. } = connect(&connection).await?;
    // Asked once before the loop begins: a loop that retries for ever against nothing would look like one that works.
    let version = client
        .apiserver_version()
        .await
        .map_err(|error| Failure::unreachable(format!("the cluster cannot be reached: {}", chain(&error))))?;
    crate::say(&format!("connected to Kubernetes {}", version.git_version));
    let clock: Clock = Arc::new(jiff::Timestamp::now);
    let options = Options {
        interval,
        policy: Policy { min_pod_age, ..Policy::default() },
        settle: up::SETTLE,
        clock: clock.clone(),
    };
    let (rows, shown) = watch::channel(Snapshot::default());
    let ((), shown) = tokio::join!(run::run(client, options, rows, stop.clone()), async {
        let shown = live::show(shown, logs, &clock, stop.clone()).await;
        stop.cancel();
        shown
    });
    Ok(shown?)
}
