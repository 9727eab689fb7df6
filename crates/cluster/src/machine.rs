//! What this machine has, where nobody says what the node should have.

use supple_node::Capacity;
use supple_quantity::{Bytes, MilliCpu};

/// Pods a node takes, as in the reference (`--max-pods`).
const MAX_PODS: u32 = 110;

/// The machine's cores and memory, as far as this process may use them.
pub fn capacity() -> Capacity {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = rustix::system::sysinfo();
    let memory = u128::from(info.totalram) * u128::from(info.mem_unit);
    Capacity {
        cpu: MilliCpu(i64::try_from(cores).unwrap_or(i64::MAX).saturating_mul(1000)),
        memory: Bytes(i64::try_from(memory).unwrap_or(i64::MAX)),
        pods: MAX_PODS,
    }
}

/// The machine's name as a node's name: lower case, whatever is not allowed there replaced by `-`.
pub fn node_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let name: String =
        name.chars().map(|it| if it.is_ascii_alphanumeric() || it == '.' { it } else { '-' }).take(253).collect();
    let name = name.trim_matches(|it| it == '-' || it == '.').to_owned();
    if name.is_empty() || name.contains("..") || name.contains(".-") || name.contains("-.") {
        "supple".to_owned()
    } else {
        name
    }
}
