//! The process runtime's helper as a program of its own, so that this crate's tests need no other crate's binary.
//! `supple` itself carries the same helper behind a hidden verb.

fn main() {
    supple_node::shim::main(std::env::args_os().skip(1))
}
