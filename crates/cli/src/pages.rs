//! How our memory is backed by the kernel, and given back to it.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// How long the allocator keeps what was freed before it gives it back to the kernel, in milliseconds.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Ask for small pages from now on. Where memory is thousands of small objects that come and go, huge pages are kept for what
/// is left in them: a fifth of the controller was that, and a third of an idle cluster. Nothing depends on it, so a kernel that
/// cannot is no error. Children inherit it, and so does a program started in our place; the shim takes it back from containers.
pub fn small() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// What is freed is given back to the kernel at once, unless whoever started the program has said otherwise: a controller is small
/// between its rounds, and is to look so. The allocator reads this from the environment before anything of ours runs, so the
/// program starts itself once more in its own place, under the same number. Where that cannot be done nothing depends on it.
pub fn given_back() {
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(invoked)) = (std::env::current_exe(), arguments.next()) {
        let _ = Command::new(program).arg0(invoked).args(arguments).env(PURGE_DELAY, "0").exec();
    }
}
