//! Resources of a running container: written through the container runtime, read from the kernel.

use supple_resize::kernel::CgroupResources;

use super::error as cri;
use super::machine::Machine;
use super::proto::UpdateContainerResourcesRequest;
use super::start::status;
use super::words;
use crate::cgroup::Group;
use crate::runtime::{ContainerRef, RuntimeError, error};

/// Write those values that are `Some`.
pub async fn update(machine: &Machine, id: &ContainerRef, values: &CgroupResources) -> Result<(), RuntimeError> {
    let run = machine.run(id)?;
    if let (Some(limit), Some(group)) = (values.memory_limit_bytes, machine.group(&run)) {
        make_room(group, limit).await?;
    }
    let request =
        UpdateContainerResourcesRequest { container_id: run.container.clone(), linux: Some(words::update(values)) };
    let updated = machine.calls.update_container_resources(request).await;
    updated.map(drop).map_err(|it| cri::call("CgroupWrite", "update the resources of", error::describe(id), &it))
}

/// A runtime writes what it is told, and the kernel of cgroup v2 kills what does not fit.
async fn make_room(group: Group, limit: i64) -> Result<(), RuntimeError> {
    if !group.keeps_weight() {
        return Ok(());
    }
    let made = tokio::task::spawn_blocking(move || group.make_room(limit)).await;
    made.map_err(|lost| error::task(&lost))?.map_err(|it| error::cgroup(&it))
}

/// Read its values. Shares that the kernel keeps as a weight are as the runtime tells them, or not known.
pub async fn read(machine: &Machine, id: &ContainerRef) -> Result<CgroupResources, RuntimeError> {
    let run = machine.run(id)?;
    let group = machine.group(&run).ok_or_else(|| RuntimeError {
        reason: "CgroupMissing",
        operation: "find the cgroup of".into(),
        object: error::describe(id),
        message: format!("there is none named after container {} in its pod's", run.container),
    })?;
    let values = group.read().map_err(|it| error::cgroup(&it))?;
    if !group.keeps_weight() {
        return Ok(values);
    }
    let told = status(machine, &run.container).await.ok().flatten();
    Ok(CgroupResources { cpu_shares: told.as_ref().and_then(words::shares), ..values })
}
