//! The end of a pod: containers stopped in their order, the cgroup removed, the API told, every trace forgotten.

use futures::future::join_all;
use jiff::SignedDuration;

use super::lifecycle::is_sidecar;
use super::runs::Run;
use super::{Report, Step, Worker};
use crate::api::ApiError;
use crate::backoff::Schedule;
use crate::checkpoint::Change;
use crate::events::Kind;
use crate::runtime::RuntimeError;

impl Worker {
    /// The next step towards the end.
    pub(super) async fn terminate(&mut self) -> Step {
        let now = self.shared.now();
        if let Some(held) = self.state.retry_at.filter(|at| *at > now) {
            return Step::Idle(Some(held));
        }
        if !self.state.stopped {
            if let Err(error) = self.stop_all().await {
                tracing::warn!(pod = self.id.name, namespace = self.id.namespace, %error, "a pod could not be ended; \
                 will retry");
                self.note(Kind::Warning, "FailedKillPod", format!("error killing pod: {error}"), None);
                self.retry_later(Schedule::ACTUATION);
                return Step::Again;
            }
            if self.state.abandon {
                return Step::Again;
            }
            self.state.stopped = true;
            self.state.resize.clear();
            self.state.backoff.reset();
            self.shared.directory.live(&self.id, false);
            self.publish();
            let _ = self.shared.reports.send(Report::Ended(self.id.uid.clone()));
            return Step::Again;
        }
        if self.state.removed {
            return self.forget().await;
        }
        if self.state.api.metadata.deletion_timestamp.is_some() && !self.state.delete_sent {
            self.publish();
            self.status.flush().await;
            match self.shared.api.delete(&self.id).await {
                // With finalizers it stays for a while; either way the watch says when it is gone.
                Ok(()) | Err(ApiError::Gone(_)) => self.state.delete_sent = true,
                Err(error) => {
                    tracing::warn!(pod = self.id.name, namespace = self.id.namespace, %error, "a pod could not be \
                     deleted; will retry");
                    self.retry_later(Schedule::API);
                }
            }
            return Step::Again;
        }
        Step::Idle(None)
    }

    fn retry_later(&mut self, schedule: Schedule) {
        let now = self.shared.now();
        let wait = self.state.backoff.failed(schedule, now);
        self.state.retry_at = now.checked_add(wait).ok();
    }

    /// Stop every container, sidecars after all others and in the opposite order of their start, and remove the cgroup.
    async fn stop_all(&mut self) -> Result<(), RuntimeError> {
        let spec = self.state.api.spec.as_ref();
        let inits = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let sidecars: Vec<String> = inits.iter().filter(|it| is_sidecar(it)).map(|it| it.name.clone()).rev().collect();
        let mains: Vec<String> =
            self.state.containers.keys().filter(|name| !sidecars.contains(name)).cloned().collect();
        let running = |name: &String| self.state.containers.get(name).is_some_and(|it| it.is_running());
        for name in mains.iter().chain(&sidecars).filter(|name| running(name)) {
            self.note(Kind::Normal, "Killing", format!("Stopping container {name}"), Some(name));
        }
        self.stop_containers(&mains).await?;
        for sidecar in sidecars {
            self.stop_containers(&[sidecar]).await?;
        }
        if self.state.abandon {
            return Ok(());
        }
        for name in self.state.containers.keys().cloned().collect::<Vec<_>>() {
            self.end_doubtful(&name).await?;
        }
        self.shared.runtime.remove_pod(&self.id).await?;
        for container in self.state.containers.values_mut() {
            container.waiting = None;
        }
        Ok(())
    }

    /// Stop those of these containers that run, all at once, within the pod's grace period. The grace may become
    /// shorter while they are ending (a second DELETE), and then what is left of it does too.
    pub(super) async fn stop_containers(&mut self, names: &[String]) -> Result<(), RuntimeError> {
        let began = self.shared.now();
        loop {
            let running: Vec<_> = names
                .iter()
                .filter_map(|name| match self.state.containers.get(name)?.run.as_ref()? {
                    Run::Running { attempt, .. } => Some(self.container_ref(name, *attempt)),
                    Run::Ended(_) => None,
                })
                .collect();
            if running.is_empty() || self.state.abandon {
                return Ok(());
            }
            let grace = self.state.grace();
            let left = (grace - self.shared.now().duration_since(began)).max(SignedDuration::ZERO).unsigned_abs();
            let runtime = std::sync::Arc::clone(&self.shared.runtime);
            let mut stopping = std::pin::pin!(join_all(running.iter().map(|id| runtime.stop_container(id, left))));
            let ended = loop {
                tokio::select! {
                    ended = &mut stopping => break Some(ended),
                    Some(command) = self.inbox.recv() => {
                        self.take(command);
                        if self.state.abandon || self.state.grace() < grace {
                            break None;
                        }
                    }
                }
            };
            for (id, ended) in running.iter().zip(ended.into_iter().flatten()) {
                let exit = ended?;
                if let Some(container) = self.state.containers.get_mut(&id.container) {
                    container.has_ended(id.attempt, exit);
                }
            }
        }
    }

    /// The pod has left the API: nothing of it stays.
    async fn forget(&mut self) -> Step {
        if let Err(error) = self.shared.runtime.forget_pod(&self.id).await {
            tracing::warn!(pod = self.id.name, namespace = self.id.namespace, %error, "logs and records of a pod could not be removed");
        }
        if let Err(error) = self.shared.checkpoints.write(&self.id.uid, Change::Forgotten).durable().await {
            // The next node that starts on these checkpoints drops records of pods that the API does not have.
            tracing::warn!(pod = self.id.name, namespace = self.id.namespace, %error, "a pod's checkpoints could not be removed");
        }
        self.shared.directory.forget(&self.id.uid);
        self.shared.figures.resizing(&self.id.uid, None);
        self.shared.recorder.forget(&self.id.uid);
        let _ = self.shared.reports.send(Report::Gone(self.id.uid.clone()));
        Step::Over
    }
}
