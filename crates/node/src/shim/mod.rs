//! The helper process that stays with a container when the program goes: it starts it, keeps its log, records its end.

use std::ffi::OsString;

/// Run as the helper (`supple shim …`): never returns.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ! {
    drop(args.into_iter());
    std::process::exit(2)
}
