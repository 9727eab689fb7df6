//! The node's main loop: everything that can make the manager decide something comes in here.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::{mpsc, oneshot};

use crate::feed::{self, Followed, Told};
use crate::manager::Manager;
use crate::shared::Shared;
use crate::worker::Report;

/// An order to stop, answered when the loop has.
pub(crate) struct Stop {
    /// Told when nothing more will happen.
    pub(crate) done: oneshot::Sender<()>,
}

/// The loop and what feeds it.
pub(crate) struct MainLoop {
    /// What workers share.
    pub(crate) shared: Arc<Shared>,
    /// Who decides.
    pub(crate) manager: Manager,
    /// From the workers.
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
    /// From whoever owns the node.
    pub(crate) stop: mpsc::UnboundedReceiver<Stop>,
    /// Told when the first list of pods has been seen, or could not be had.
    pub(crate) listed: Option<oneshot::Sender<Result<(), kube::Error>>>,
}

impl MainLoop {
    /// Watch the node's pods among these and run until told to stop.
    pub(crate) async fn run(self, pods: Api<Pod>) {
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.shared.node));
        let changes = watcher(pods, config).default_backoff().map(|it| it.map(feed::told));
        self.run_on(changes).await;
    }

    /// Run on what somebody else watches until told to stop.
    pub(crate) async fn run_on(mut self, watch: impl Stream<Item = watcher::Result<Told>>) {
        let mut watch = std::pin::pin!(watch);
        let mut happenings = self.shared.runtime.events();
        let mut listing = Vec::new();
        loop {
            let retry = self.manager.wake().map(|at| at.duration_since(self.shared.now()).max(SignedDuration::ZERO));
            let retry = retry.map(|wait| self.shared.speed.wait(wait.unsigned_abs()));
            let retry = async {
                match retry {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            // What happened on this machine first: an exit that is known makes a better decision than one that is not.
            tokio::select! {
                biased;
                Some(Stop { done }) = self.stop.recv() => {
                    self.manager.stop();
                    // Whoever asked may have gone; then nobody needs the answer.
                    let _ = done.send(());
                    return;
                }
                Some(event) = happenings.next() => self.manager.happened(event),
                Some(report) = self.reports.recv() => self.manager.reported(report),
                Some(event) = watch.next() => match event {
                    Ok(event) => self.watched(event, &mut listing),
                    Err(error) => self.not_watched(error),
                },
                () = retry => self.manager.retry_if_due(),
            }
        }
    }

    fn watched(&mut self, event: Told, listing: &mut Vec<Followed>) {
        match event {
            watcher::Event::Init => listing.clear(),
            watcher::Event::InitApply(pod) => listing.push(pod),
            watcher::Event::InitDone => {
                self.manager.listed(std::mem::take(listing));
                if let Some(listed) = self.listed.take() {
                    let _ = listed.send(Ok(()));
                }
            }
            watcher::Event::Apply(pod) => self.manager.applied(pod),
            watcher::Event::Delete(pod) => self.manager.deleted(&pod.pod()),
        }
    }

    fn not_watched(&mut self, error: watcher::Error) {
        tracing::warn!(%error, "the node's pods cannot be watched; will retry");
        if let watcher::Error::InitialListFailed(error) = error
            && let Some(listed) = self.listed.take()
        {
            let _ = listed.send(Err(error));
        }
    }
}
