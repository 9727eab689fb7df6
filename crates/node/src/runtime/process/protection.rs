//! Memory that is protected in a pod must be protected in all pods together, too: the kernel protects nothing in a cgroup
//! that is not protected itself. So our own root has the sum of its pods.

use std::collections::BTreeMap;
use std::sync::Mutex;

use supple_resize::kernel::CgroupResources;
use supple_resize::memory_qos::MemoryTiers;

use crate::cgroup::{CgroupError, Group};
use crate::runtime::ground::lock;

/// What each pod protects.
#[derive(Debug, Default)]
pub struct Protection(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    pods: BTreeMap<String, MemoryTiers>,
    /// What the root was given last.
    given: MemoryTiers,
}

impl Protection {
    /// The pod with this UID has these tiers now; what they leave out stays as it was.
    ///
    /// # Errors
    /// [`CgroupError::Write`]: the root could not be given the sum.
    pub fn set(&self, root: &Group, uid: &str, tiers: &MemoryTiers) -> Result<(), CgroupError> {
        if !tiers.says_protection() {
            return Ok(());
        }
        let mut sums = lock(&self.0);
        let old = sums.pods.get(uid).copied().unwrap_or_default();
        sums.pods.insert(uid.to_owned(), old.with(tiers));
        sums.give(root)
    }

    /// The pod with this UID is gone.
    ///
    /// # Errors
    /// As [`Protection::set`].
    pub fn forget(&self, root: &Group, uid: &str) -> Result<(), CgroupError> {
        let mut sums = lock(&self.0);
        if sums.pods.remove(uid).is_some() { sums.give(root) } else { Ok(()) }
    }
}

impl Sums {
    fn give(&mut self, root: &Group) -> Result<(), CgroupError> {
        let wanted = MemoryTiers::of_level(self.pods.values());
        if wanted != self.given {
            root.apply(&CgroupResources::default().tiered(wanted))?;
            self.given = wanted;
        }
        Ok(())
    }
}
