//! How the kernel backs our memory.

/// Ask for small pages from now on. Where memory is thousands of small objects that come and go, huge pages are kept for what
/// is left in them: a fifth of the controller was that, and a third of an idle cluster. Nothing depends on it, so a kernel that
/// cannot is no error. Children inherit it; the shim takes it back from containers.
pub fn small() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
