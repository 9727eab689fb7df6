//! Containers that are only computed: usage from patterns, deterministic from a seed and the clock. For machines without
//! cgroups, and for nodes of thousands of pods.
//!
//! What a container uses is played from a recording ([`recorded`]) that has it, or is said by the pod's annotation `supple.dev/usage-pattern` (its language is in [`pattern`]), or
//! by a command that is known, or is drawn from the seed to suit its requests. Limits hold: CPU above the quota is
//! throttled, memory above the limit is an OOM kill, and a memory limit below what is held is refused as the kernel
//! would. Nothing outlives the process; a node that is started anew on the same runtime finds what the last one left.

pub mod pattern;
pub mod recorded;
mod world;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use supple_resize::kernel::CgroupResources;
use tokio::sync::watch;

use self::recorded::Recording;
use self::world::World;
use super::entries::{Selection, select};
use super::{
    ContainerConfig, ContainerRef, Exit, FoundPod, Images, LogOptions, PodConfig, PodRef, PodUsage, RunState, Runtime,
    RuntimeError, RuntimeEvent,
};
use crate::{Clock, Speed};

/// How often the clock is looked at for something that has happened by itself, where something may.
const LOOK: Duration = Duration::from_secs(1);

/// Everything the simulated runtime is built from.
#[derive(Clone)]
pub struct SimulatedOptions {
    /// Where time comes from; usage is a function of it.
    pub clock: Clock,
    /// How fast that goes by.
    pub speed: Speed,
    /// Which of the many possible worlds: same seed, same usage.
    pub seed: u64,
    /// Which images count as present.
    pub images: Images,
    /// What was recorded of some or all containers.
    pub recording: Option<Arc<Recording>>,
    /// Whether everybody knows that nothing is executed, so that no pod need be told.
    pub is_known: bool,
}

impl SimulatedOptions {
    /// The world of seed 0 on this clock, with every image and no recording.
    pub fn new(clock: Clock) -> Self {
        Self { clock, speed: Speed::REAL, seed: 0, images: Images::Any, recording: None, is_known: false }
    }
}

impl fmt::Debug for SimulatedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clock: _, speed, seed, images, recording, is_known } = self;
        f.debug_struct("SimulatedOptions")
            .field("speed", speed)
            .field("seed", seed)
            .field("images", images)
            .field("recorded", &recording.as_ref().map(|it| it.len()))
            .field("is_known", is_known)
            .finish_non_exhaustive()
    }
}

/// The simulated runtime.
pub struct SimulatedRuntime {
    shared: Arc<Shared>,
    images: Images,
    is_known: bool,
}

struct Shared {
    world: Mutex<World>,
    clock: Clock,
    speed: Speed,
    /// Raised after every call that may have made something happen.
    changed: watch::Sender<()>,
}

impl Shared {
    /// The world, and the time at which it is looked at.
    fn now(&self) -> (MutexGuard<'_, World>, jiff::Timestamp) {
        // A panic elsewhere leaves maps that are still whole.
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that nobody comes with an older time after one with a newer.
        let now = (self.clock)();
        (world, now)
    }

    /// Wait until something may have happened.
    async fn wait(&self, changed: &mut watch::Receiver<()>) {
        let restless = self.world.lock().unwrap_or_else(PoisonError::into_inner).is_restless();
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep(self.speed.wait(LOOK)), if restless => {}
        }
    }
}

impl SimulatedRuntime {
    /// An empty machine.
    pub fn new(options: SimulatedOptions) -> Self {
        let SimulatedOptions { clock, speed, seed, images, recording, is_known } = options;
        let world = Mutex::new(World::new(seed, recording));
        Self { shared: Arc::new(Shared { world, clock, speed, changed: watch::Sender::new(()) }), images, is_known }
    }

    /// Do something to the world as it is now.
    fn with<T: Send + 'static>(&self, act: impl FnOnce(&mut World, jiff::Timestamp) -> T) -> BoxFuture<'static, T> {
        let (mut world, now) = self.shared.now();
        let done = act(&mut world, now);
        drop(world);
        self.shared.changed.send_replace(());
        Box::pin(std::future::ready(done))
    }

    /// Look at the world, or change an amount in it. That wakes nobody, unless something comes of it: a resize is made of
    /// half a dozen of these.
    fn quietly<T: Send + 'static>(&self, act: impl FnOnce(&mut World, jiff::Timestamp) -> T) -> BoxFuture<'static, T> {
        let (mut world, now) = self.shared.now();
        let done = act(&mut world, now);
        let is_quiet = world.is_quiet();
        drop(world);
        if !is_quiet {
            self.shared.changed.send_replace(());
        }
        Box::pin(std::future::ready(done))
    }
}

impl fmt::Debug for SimulatedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedRuntime").field("images", &self.images).finish_non_exhaustive()
    }
}

impl Runtime for SimulatedRuntime {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn has_memory_qos(&self) -> bool {
        true
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<FoundPod>, RuntimeError>> {
        self.with(|world, now| Ok(world.found(now)))
    }

    fn check_image<'a>(
        &'a self,
        image: &'a str,
        pull_policy: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move { self.images.check(image, pull_policy) })
    }

    fn ignored(&self, pod: &Pod) -> Vec<String> {
        if self.is_known {
            return Vec::new();
        }
        let mut ignored = vec!["commands (usage is simulated)".to_owned()];
        ignored.extend(super::ignored::ignored(pod));
        ignored
    }

    fn create_pod<'a>(&'a self, config: &'a PodConfig) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.with(|world, now| {
            world.create_pod(&config.id, &config.resources, now);
            Ok(())
        })
    }

    fn update_pod<'a>(
        &'a self,
        pod: &'a PodRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.quietly(|world, now| world.update_pod(pod, resources, now))
    }

    fn read_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>> {
        self.quietly(|world, now| world.read_pod(pod, now))
    }

    fn remove_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        // Its containers have ended, so it uses nothing; its logs are kept until it is forgotten.
        self.with(|world, _| {
            world.remove_pod(pod);
            Ok(())
        })
    }

    fn forget_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.with(|world, _| {
            world.forget_pod(pod);
            Ok(())
        })
    }

    fn start_container<'a>(&'a self, config: &'a ContainerConfig) -> BoxFuture<'a, Result<RunState, RuntimeError>> {
        self.with(|world, now| world.start(config, now))
    }

    fn update_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.quietly(|world, now| world.update(id, resources, now))
    }

    fn read_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>> {
        self.quietly(|world, now| world.read(id, now))
    }

    fn stop_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        _grace: Duration,
    ) -> BoxFuture<'a, Result<Exit, RuntimeError>> {
        self.with(|world, now| world.stop(id, now))
    }

    fn remove_container<'a>(&'a self, _id: &'a ContainerRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn usage<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<PodUsage, RuntimeError>> {
        let (mut world, now) = self.shared.now();
        Box::pin(std::future::ready(world.usage(pod, now)))
    }

    fn logs<'a>(
        &'a self,
        id: &'a ContainerRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, io::Result<Bytes>>, RuntimeError>> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        Box::pin(async move {
            let (mut world, now) = shared.now();
            world.read(&id, now)?; // not there: say so now, not as an empty log
            drop(world);
            let (follow, selection) = (options.follow, Selection::new(options));
            let changed = shared.changed.subscribe();
            let start = (shared, id, selection, changed, 0_usize, false);
            let stream = futures::stream::unfold(
                start,
                move |(shared, id, mut selection, mut changed, mut from, over)| async move {
                    if over {
                        return None;
                    }
                    loop {
                        let (text, ended) = {
                            let (mut world, now) = shared.now();
                            world.log(&id, from, now)?
                        };
                        from += text.len();
                        let out = select(&text, &mut selection);
                        selection.no_more_tail();
                        let over = ended || !follow || selection.is_full();
                        if over || !out.is_empty() {
                            return Some((Ok(Bytes::from(out)), (shared, id, selection, changed, from, over)));
                        }
                        shared.wait(&mut changed).await;
                    }
                },
            );
            Ok(stream.boxed())
        })
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        let changed = self.shared.changed.subscribe();
        futures::stream::unfold((Arc::clone(&self.shared), changed), |(shared, mut changed)| async move {
            loop {
                let event = {
                    let (mut world, now) = shared.now();
                    world.advance(now);
                    world.next_event()
                };
                if let Some(event) = event {
                    return Some((event, (shared, changed)));
                }
                shared.wait(&mut changed).await;
            }
        })
        .boxed()
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.with(|world, _| {
            world.clear();
            Ok(())
        })
    }
}
