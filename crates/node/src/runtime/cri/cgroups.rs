//! The cgroups above the containers: ours to make, resize and remove. The container runtime makes those below.

use std::collections::BTreeMap;
use std::path::PathBuf;

use supple_resize::kernel::{CgroupResources, MAX_SHARES, MIN_SHARES};
use supple_resize::memory_qos::MemoryTiers;
use supple_resize::qos::QosClass;
use tokio::sync::Mutex;

use super::layout::{Driver, Layout};
use super::options::{CriOptions, NewError};
use super::systemd::{Systemd, SystemdError};
use crate::cgroup::{self, Group, Hierarchies, Role, V1};
use crate::runtime::ground;
use crate::runtime::{RuntimeError, error};

/// See the module.
#[derive(Debug)]
pub struct Cgroups {
    layout: Layout,
    top: Hierarchies,
    /// Where every hierarchy is mounted: a container runtime makes its cgroups in all of them, and leaves ours behind.
    points: Vec<PathBuf>,
    systemd: Option<Systemd>,
    /// What pods have been given, by UID. Kept while the levels above are written, so that the newest sum is written last.
    given: Mutex<BTreeMap<String, Given>>,
}

/// What a pod's cgroup has been given of that which the levels above it follow.
#[derive(Debug)]
struct Given {
    qos: QosClass,
    shares: Option<u64>,
    tiers: MemoryTiers,
}

impl Cgroups {
    /// Make the levels above the pods, or find them again.
    pub async fn open(layout: Layout, options: &CriOptions) -> Result<Self, NewError> {
        let top = Hierarchies::detect(&options.mounts)?;
        let points = cgroup::mounted(&options.mounts)?;
        let tops: Vec<&PathBuf> = match &top {
            Hierarchies::V1(V1 { cpu, memory, .. }) => vec![cpu, memory],
            Hierarchies::V2(dir) => vec![dir],
        };
        if let Some(point) = tops.into_iter().find(|dir| !points.contains(dir)) {
            return Err(NewError::NotAtTheTop { point: point.clone() });
        }
        let systemd = (layout.driver == Driver::Systemd).then(|| Systemd::new(options.systemctl.clone()));
        let cgroups = Self { layout, top, points, systemd, given: Mutex::default() };
        let least = CgroupResources { cpu_shares: Some(MIN_SHARES), ..CgroupResources::default() };
        let levels = [
            (cgroups.layout.root(), CgroupResources::default()),
            (cgroups.layout.pods(), options.allocatable),
            (cgroups.layout.class(QosClass::Burstable), least),
            (cgroups.layout.class(QosClass::BestEffort), least),
        ];
        for (path, values) in levels {
            cgroups.make_level(&path, &values).await?;
        }
        Ok(cgroups)
    }

    async fn make_level(&self, path: &[String], values: &CgroupResources) -> Result<(), NewError> {
        self.start(path).await?;
        let group = self.group(path);
        group.create()?;
        group.apply(values)?;
        self.tell(path, values).await?;
        Ok(())
    }

    /// Whether there are the files of version 2.
    pub fn is_version_2(&self) -> bool {
        matches!(self.top, Hierarchies::V2(_))
    }

    /// Name and place in words.
    pub fn describe(&self) -> String {
        format!(
            "{}, driver {}, below {}",
            self.top.describe(),
            self.layout.driver.as_str(),
            self.layout.root().concat()
        )
    }

    /// The level that is ours alone, in the hierarchy that accounts memory.
    pub fn root_directory(&self) -> PathBuf {
        self.group(&self.layout.root()).memory_directory().to_owned()
    }

    /// A pod's own cgroup.
    pub fn pod(&self, qos: QosClass, uid: &str) -> Group {
        self.group(&self.layout.pod(qos, uid))
    }

    /// Its path as the CRI takes it.
    pub fn parent(&self, qos: QosClass, uid: &str) -> String {
        super::layout::cgroup_parent(&self.layout.pod(qos, uid))
    }

    /// Make a pod's cgroup with these values.
    pub async fn make(&self, qos: QosClass, uid: &str, values: &CgroupResources) -> Result<(), RuntimeError> {
        let path = self.layout.pod(qos, uid);
        self.start(&path).await.map_err(|it| systemd(&it))?;
        let group = self.group(&path);
        group.create().map_err(|it| error::cgroup(&it))?;
        self.write(qos, uid, values).await
    }

    /// Write values to a pod's cgroup, and to the levels above what follows from them.
    pub async fn write(&self, qos: QosClass, uid: &str, values: &CgroupResources) -> Result<(), RuntimeError> {
        let path = self.layout.pod(qos, uid);
        if values.tiers.says_protection() {
            // Before the pod's own: what is not protected above is not protected below.
            let mut given = self.given.lock().await;
            let pod = given.entry(uid.to_owned()).or_insert_with(|| Given::nothing(qos));
            pod.tiers = pod.tiers.with(&values.tiers);
            self.protect(&given).await?;
        }
        ground::apply(self.group(&path), *values).await?;
        self.tell(&path, values).await.map_err(|it| systemd(&it))?;
        if values.cpu_shares.is_some() {
            let mut given = self.given.lock().await;
            given.entry(uid.to_owned()).or_insert_with(|| Given::nothing(qos)).shares = values.cpu_shares;
            if qos == QosClass::Burstable {
                self.weigh(&given).await?;
            }
        }
        Ok(())
    }

    /// Kill everything in a pod's cgroup and remove it from every hierarchy.
    pub async fn end(&self, qos: QosClass, uid: &str) -> Result<(), RuntimeError> {
        self.end_level(self.layout.pod(qos, uid)).await?;
        let mut given = self.given.lock().await;
        let Some(gone) = given.remove(uid) else { return Ok(()) };
        if gone.qos == QosClass::Burstable && gone.shares.is_some() {
            self.weigh(&given).await?;
        }
        if gone.tiers.says_protection() { self.protect(&given).await } else { Ok(()) }
    }

    /// These pods are there from before: the levels above have again what follows from them, and the cgroups of all others
    /// are removed.
    pub async fn adopt(&self, known: &[(QosClass, String)]) -> Result<(), RuntimeError> {
        let mut given = self.given.lock().await;
        for (qos, uid) in known {
            let values = self.pod(*qos, uid).read().map_err(|it| error::cgroup(&it))?;
            let shares = Some(values.cpu_shares.unwrap_or(MIN_SHARES));
            given.insert(uid.clone(), Given { qos: *qos, shares, tiers: values.tiers });
        }
        self.weigh(&given).await?;
        if self.is_version_2() {
            self.protect(&given).await?;
        }
        drop(given);
        let known: Vec<Vec<String>> = known.iter().map(|(qos, uid)| self.layout.pod(*qos, uid)).collect();
        for qos in [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort] {
            let class = self.layout.class(qos);
            for name in self.group(&class).children().map_err(|it| error::cgroup(&it))? {
                let path: Vec<String> = class.iter().cloned().chain([name.clone()]).collect();
                if self.layout.is_pod(&name) && !known.contains(&path) {
                    tracing::info!(cgroup = path.concat(), "removing the cgroup of a pod that no sandbox knows");
                    self.end_level(path).await?;
                }
            }
        }
        Ok(())
    }

    /// Remove everything of ours.
    pub async fn end_all(&self) -> Result<(), RuntimeError> {
        self.end_level(self.layout.root()).await?;
        self.given.lock().await.clear();
        Ok(())
    }

    async fn end_level(&self, path: Vec<String>) -> Result<(), RuntimeError> {
        ground::end(self.group(&path)).await?;
        if let (Some(systemd), Some(slice)) = (&self.systemd, path.last()) {
            // It is empty; what systemd thinks of a slice that it has lost is not worth failing for.
            if let Err(it) = systemd.stop(slice).await {
                tracing::debug!(error = %it, "systemd keeps a slice that is gone");
            }
        }
        let left: Vec<PathBuf> = self.points.iter().map(|point| point.join(path.join("/"))).collect();
        let removed = tokio::task::spawn_blocking(move || left.iter().try_for_each(|dir| cgroup::remove_tree(dir)));
        removed.await.map_err(|lost| error::task(&lost))?.map_err(|it| error::cgroup(&it))
    }

    /// Give the class of Burstable pods as many shares as they have together, against Guaranteed ones beside it.
    async fn weigh(&self, given: &BTreeMap<String, Given>) -> Result<(), RuntimeError> {
        let shares = burstable(given).filter_map(|it| it.shares).fold(0, u64::saturating_add);
        let shares = Some(shares.clamp(MIN_SHARES, MAX_SHARES));
        let values = CgroupResources { cpu_shares: shares, ..CgroupResources::default() };
        self.write_level(&self.layout.class(QosClass::Burstable), &values).await
    }

    /// Protect in each level above the pods what they protect together.
    async fn protect(&self, given: &BTreeMap<String, Given>) -> Result<(), RuntimeError> {
        let all = MemoryTiers::of_level(given.values().map(|it| &it.tiers));
        let burstable = MemoryTiers::of_level(burstable(given).map(|it| &it.tiers));
        let class = self.layout.class(QosClass::Burstable);
        for (path, tiers) in [(self.layout.root(), all), (self.layout.pods(), all), (class, burstable)] {
            self.write_level(&path, &CgroupResources::default().tiered(tiers)).await?;
        }
        Ok(())
    }

    async fn write_level(&self, path: &[String], values: &CgroupResources) -> Result<(), RuntimeError> {
        ground::apply(self.group(path), *values).await?;
        self.tell(path, values).await.map_err(|it| systemd(&it))
    }

    fn group(&self, path: &[String]) -> Group {
        let (root, below) = path.split_first().map_or(("", path), |(root, below)| (root.as_str(), below));
        below.iter().fold(Group::root(&self.top, root), |group, level| group.child(level, Role::Pod))
    }

    async fn start(&self, path: &[String]) -> Result<(), SystemdError> {
        match (&self.systemd, path.last()) {
            (Some(systemd), Some(slice)) => systemd.start(slice).await,
            _ => Ok(()),
        }
    }

    async fn tell(&self, path: &[String], values: &CgroupResources) -> Result<(), SystemdError> {
        match (&self.systemd, path.last()) {
            (Some(systemd), Some(slice)) => systemd.set(slice, values).await,
            _ => Ok(()),
        }
    }
}

impl Given {
    /// A pod that has been given nothing yet.
    fn nothing(qos: QosClass) -> Self {
        Self { qos, shares: None, tiers: MemoryTiers::default() }
    }
}

fn burstable(given: &BTreeMap<String, Given>) -> impl Iterator<Item = &Given> {
    given.values().filter(|it| it.qos == QosClass::Burstable)
}

fn systemd(error: &SystemdError) -> RuntimeError {
    RuntimeError {
        reason: "CgroupWrite",
        operation: "tell".into(),
        object: "systemd".into(),
        message: error.to_string(),
    }
}
