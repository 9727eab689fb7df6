//! The helper process that stays with a container when the program goes: it starts it, keeps its log, records its end.
//!
//! ```text
//!   runtime ──spec.json──▶ supervise (stays outside the container's cgroup, lives as long as the container)
//!      ▲                      │ own PID namespace for what follows, pipes for its output
//!      │                      ▼
//!      │                    enter ── joins the cgroups, own mounts and host name ── exec ──▶ the container's command
//!      │                      │ exec failed? says so through a pipe that closes by itself when it succeeds
//!      └── state.json, exit.json, log ◀── supervise
//! ```
//!
//! Why a process of its own: the exact exit code of a container is known to its parent alone, and the parent must
//! survive `kill -9` of the program. Why a second stage: a process joins a cgroup by its own write before it executes
//! the command, so that not one page or microsecond of the command is charged elsewhere; and no `fork` in Rust code is
//! safe. There is no async runtime in here and nothing is kept: a few hundred kilobytes per container.

mod enter;
mod log;
mod pump;
pub mod record;
mod supervise;

use std::ffi::OsString;
use std::path::Path;

/// Run as the helper: `args` are those after the hidden verb. Never returns; to be called before the program has opened
/// any file or started any thread, because it closes every file but the standard three.
///
/// Exit codes: 0 the container was run and its end recorded; 1 it could not be started (recorded too); 2 wrong usage.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ! {
    crate::kernel::close_inherited();
    let args: Vec<OsString> = args.into_iter().collect();
    let code = match args.as_slice() {
        [verb, dir, shim @ ..] if verb == "supervise" && !shim.is_empty() => supervise::run(Path::new(dir), shim),
        [verb, dir] if verb == "enter" => enter::run(Path::new(dir)),
        _ => {
            eprintln!("this verb is internal: it runs one container of the process runtime");
            2
        }
    };
    std::process::exit(code)
}
