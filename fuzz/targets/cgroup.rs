//! What the kernel says in cgroup files, in /proc and of pressure.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supple_node::cgroup::parse;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let _ = (parse::limit(&text), parse::cpu_max(&text), parse::number::<u64>(&text), parse::start_ticks(&text));
    let _ = parse::pids(&text).count();
    for key in ["inactive_file", "oom_kill", "nr_throttled"] {
        let _ = (parse::flat(&text, key), parse::nested(&text, "8:0", key));
    }
    for head in ["some", "full"] {
        if let Some(pressure) = parse::pressure(&text, head) {
            let _ = format!("{pressure:?}");
        }
    }
    let _ = parse::mountinfo(&text);
    let _ = parse::own_path(&text, "memory");
});
