//! Starting one container: image, configuration, record, run; and what to say when one of them fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Container as Spec;
use supple_resize::actuate;
use supple_resize::amounts;
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::qos;

use super::Worker;
use super::environment::{Reference, Sources, oom_score, references, resolve};
use super::runs::{Ended, PullFailed, Run, Waiting};
use crate::api::ApiError;
use crate::backoff::Schedule;
use crate::events::Kind;
use crate::runtime::{CONTAINER_NOT_FOUND, ContainerConfig, RunState, RuntimeError};

/// How long to wait before an image or a configuration that was missing is looked for again.
const MISSING_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// A start that came to nothing before there was a run.
struct NotStarted {
    /// `ErrImageNeverPull`, `CreateContainerConfigError`, `CreateContainerError`.
    reason: String,
    message: String,
    /// Event of its own, where the reason has one: its reason and message.
    event: Option<(String, String)>,
}

impl Worker {
    /// Start a container, or note why it could not be.
    pub(super) async fn start_container(&mut self, name: &str) {
        let Some(spec) = amounts::containers(&self.state.view).find(|spec| spec.name == name).cloned() else {
            return;
        };
        let config = match self.prepare(&spec).await {
            Ok(Some(config)) => config,
            Ok(None) => return,
            Err(NotStarted { reason, message, event }) => {
                let now = self.shared.now();
                if let Some((reason, message)) = event {
                    self.note(Kind::Warning, &reason, message, Some(name));
                }
                let said = if reason == "CreateContainerConfigError" { message.clone() } else { reason.clone() };
                self.note(Kind::Warning, "Failed", format!("Error: {said}"), Some(name));
                if let Some(container) = self.state.containers.get_mut(name) {
                    let pull = reason == "ErrImagePull";
                    container.pull_failed = pull.then(|| PullFailed { at: now, message: message.clone() });
                    let wait = if pull { container.pulls.failed(Schedule::IMAGE_PULL, now) } else { MISSING_AGAIN };
                    container.not_before = now.checked_add(wait).ok();
                    container.waiting = Some(Waiting { reason, message: Some(message) });
                }
                return;
            }
        };
        let attempt = config.id.attempt;
        self.note(Kind::Normal, "Created", "Container created".to_owned(), Some(name));
        let started = self.shared.runtime.start_container(&config).await;
        let now = self.shared.now();
        self.shared.directory.ran(&self.id, name, attempt);
        let Some(container) = self.state.containers.get_mut(name) else { return };
        // A restart that the policy asked for makes the next one wait longer; one that a resize asked for does not.
        if container.ended().is_some() && !container.restart_now {
            container.backoff.failed(Schedule::CRASH_LOOP, now);
        }
        match started {
            Ok(RunState::Running { started_at, .. }) => {
                container.began(Run::Running { attempt, started_at });
                self.note(Kind::Normal, "Started", "Container started".to_owned(), Some(name));
            }
            Ok(RunState::Exited(exit)) => {
                container.began(Run::Ended(Ended::of(attempt, exit)));
                self.note(Kind::Normal, "Started", "Container started".to_owned(), Some(name));
            }
            Err(error) => {
                let message = error.to_string();
                container.began(Run::Ended(Ended::start_error(attempt, message.clone(), now)));
                container.waiting =
                    Some(Waiting { reason: "RunContainerError".into(), message: Some(message.clone()) });
                container.doubtful = Some(attempt);
                // The first restart after an end is not held back, one after a failed start is: it would fail at once.
                if container.backoff.until(Schedule::CRASH_LOOP, now).is_none() {
                    container.backoff.failed(Schedule::CRASH_LOOP, now);
                }
                self.note(Kind::Warning, "Failed", format!("Error: {message}"), Some(name));
                if let Err(error) = self.end_doubtful(name).await {
                    tracing::warn!(%error, "a container that could not be started may run; will retry");
                }
            }
        }
    }

    /// Make sure that a run whose start failed does not run: two runs of one container would share its resources and
    /// its pod's.
    pub(super) async fn end_doubtful(&mut self, name: &str) -> Result<(), RuntimeError> {
        let Some(attempt) = self.state.containers.get(name).and_then(|it| it.doubtful) else { return Ok(()) };
        match self.shared.runtime.stop_container(&self.container_ref(name, attempt), Duration::ZERO).await {
            Err(error) if error.reason != CONTAINER_NOT_FOUND => return Err(error),
            _ => {}
        }
        if let Some(container) = self.state.containers.get_mut(name) {
            container.doubtful = None;
        }
        Ok(())
    }

    /// Everything up to the start itself, the record that a container of this size is about to run included. `None`:
    /// while its image was being pulled the pod came to its end.
    async fn prepare(&mut self, spec: &Spec) -> Result<Option<ContainerConfig>, NotStarted> {
        self.end_doubtful(&spec.name).await.map_err(|error| NotStarted {
            reason: "CreateContainerError".into(),
            message: error.to_string(),
            event: None,
        })?;
        let image = spec.image.as_deref().unwrap_or_default();
        let Some(checked) = self.image(image, spec.image_pull_policy.as_deref()).await else { return Ok(None) };
        checked.map_err(|RuntimeError { reason, message, .. }| {
            let event = match reason {
                "ErrImagePull" => ("Failed", format!("Failed to pull image {image:?}: {message}")),
                reason => (reason, message.clone()),
            };
            NotStarted { reason: reason.into(), message, event: Some((event.0.into(), event.1)) }
        })?;
        let config_error = |message| NotStarted { reason: "CreateContainerConfigError".into(), message, event: None };
        let sources = self.sources(spec).await.map_err(config_error)?;
        let resolved = resolve(&self.state.view, spec, &sources, self.shared.capacity).map_err(config_error)?;
        let amounts = actuate::container_amounts(&self.state.view, &spec.name).unwrap_or_default();
        let attempt = self.state.containers.get(&spec.name).map_or(0, |it| it.next_attempt());
        let class_name = self.state.api.status.as_ref().and_then(|status| status.qos_class.as_deref());
        let class = qos::recorded(&self.state.view);
        let tiers = self.shared.memory_qos.of_container(class, &amounts, self.shared.capacity.memory);
        let config = ContainerConfig {
            id: self.container_ref(&spec.name, attempt),
            image: image.to_owned(),
            command: resolved.command,
            args: resolved.args,
            env: resolved.env,
            working_dir: spec.working_dir.clone(),
            resources: CgroupResources::at_start(&amounts, DEFAULT_PERIOD_US).tiered(tiers),
            annotations: self.state.api.metadata.annotations.clone().unwrap_or_default(),
            oom_score_adj: oom_score(&self.state.view, spec, class_name, self.shared.capacity.memory),
        };
        self.state.actuated.container_starting(&spec.name, amounts);
        self.write_actuated().durable().await.map_err(|error| NotStarted {
            reason: "CreateContainerError".into(),
            message: error.to_string(),
            event: None,
        })?;
        // The run before the last has nobody left who asks for it; its end is in the status.
        let last =
            self.state.containers.get(&spec.name).filter(|it| it.previous.is_some()).and_then(|it| it.previous.clone());
        if let Some(Ended { attempt, .. }) = last {
            let id = self.container_ref(&spec.name, attempt);
            if let Err(error) = self.shared.runtime.remove_container(&id).await {
                tracing::debug!(%error, "an old run could not be removed");
            }
        }
        Ok(Some(config))
    }

    /// Have the image ready. A pull may take minutes, and the pod may be ended meanwhile: then `None`.
    async fn image(&mut self, image: &str, pull_policy: Option<&str>) -> Option<Result<(), RuntimeError>> {
        let runtime = Arc::clone(&self.shared.runtime);
        let mut checking = runtime.check_image(image, pull_policy);
        loop {
            tokio::select! {
                biased;
                checked = &mut checking => return Some(checked),
                Some(command) = self.inbox.recv() => {
                    self.take(command);
                    if self.state.abandon || self.state.end.is_some() {
                        return None;
                    }
                }
            }
        }
    }

    /// The ConfigMaps and Secrets that the environment refers to.
    async fn sources(&self, spec: &Spec) -> Result<Sources, String> {
        let mut sources = Sources::new();
        let namespace = &self.id.namespace;
        for reference in references(spec) {
            let data = match &reference {
                Reference::ConfigMap(name) => {
                    self.shared.api.config_map(namespace, name).await.map(|it| it.data.unwrap_or_default())
                }
                Reference::Secret(name) => self.shared.api.secret(namespace, name).await.map(|it| {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    it.data
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(key, value)| (key, text(value.0)))
                        .collect::<BTreeMap<_, _>>()
                }),
            };
            match data {
                Ok(data) => {
                    sources.insert(reference, data);
                }
                // Whether that is an error is for the reference to say: it may be optional.
                Err(ApiError::Gone(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(sources)
    }
}
