//! `supple resize` and `supple undo`: one pod, one outcome.

use std::io::Write as _;

use supple_controller::act::{Order, Wish, carry_out};
use supple_controller::outcome::Outcome;
use supple_decide::note::Author;
use supple_decide::progress::Progress;
use supple_resize::predict::Sizes;

use crate::args::{Output, PodArgs, ResizeArgs, UndoArgs};
use crate::connect::{Connection, chain, connect};
use crate::exit::Failure;
use crate::values::Amount;

/// `supple resize`
pub async fn resize(args: ResizeArgs) -> Result<(), Failure> {
    let ResizeArgs { pod, container, cpu, memory } = args;
    let both = |amount: Option<Amount>| amount.map_or((None, None), |Amount { request, limit }| (request, limit));
    let ((cpu_request, cpu_limit), (memory_request, memory_limit)) = (both(cpu), both(memory));
    let sizes = Sizes { cpu_request, cpu_limit, memory_request, memory_limit };
    run(pod, Wish::One { container, sizes }, Author::Resize).await
}

/// `supple undo`
pub async fn undo(args: UndoArgs) -> Result<(), Failure> {
    run(args.pod, Wish::Undo, Author::Undo).await
}

async fn run(args: PodArgs, wish: Wish, by: Author) -> Result<(), Failure> {
    let PodArgs { connection, pod, namespace, wait, timeout, dry_run, output } = args;
    let Connection { client, namespace: usual } = connect(&connection).await?;
    let order = Order {
        namespace: namespace.unwrap_or(usual),
        pod: pod.0,
        uid: None,
        wish,
        by,
        wait: wait.then_some(timeout),
        dry_run,
    };
    let mut seen = |progress: &Progress| match progress {
        Progress::Deferred(why) => crate::say(&format!("deferred, waiting: {why}")),
        Progress::Failing(why) => crate::say(&format!("failing, waiting: {why}")),
        Progress::Underway => crate::say("under way"),
        Progress::Infeasible(_) | Progress::Settled | Progress::Ended => {}
    };
    let outcome = carry_out(&client, &order, &jiff::Timestamp::now, &mut seen)
        .await
        .map_err(|error| Failure::unreachable(format!("cannot reach the cluster: {}", chain(&error))))?;
    print(&outcome, output)
}

fn print(outcome: &Outcome, output: Output) -> Result<(), Failure> {
    let Outcome { namespace: _, pod, reason, message, containers: _, notes } = outcome;
    let line = format!("pod/{pod} {reason}: {message}");
    if output == Output::Text {
        for note in notes {
            crate::say(&format!("note: {note}"));
        }
    }
    match output {
        Output::Json => {
            let mut out = std::io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, outcome).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Output::Text if reason.is_success() => writeln!(std::io::stdout(), "{line}")?,
        Output::Text => return Err(Failure::refused(line)),
    }
    if reason.is_success() { Ok(()) } else { Err(Failure::Refused(None)) }
}
