//! How the program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|it| it == value);
    // Of functions that came out alike, one is kept: the types of Kubernetes are read by thousands of them. The toolchain's own
    // linker can do that where it is the default.
    if is("TARGET", "x86_64-unknown-linux-gnu") && is("PROFILE", "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
        // Where addresses stand that depend on where the program is loaded: as a map of bits, a thirtieth of a list of them.
        // Debian 12's loader, and any since then, can read it.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
