//! The embedded node: it watches the pods bound to it, admits them, allocates what they ask for, runs their containers
//! through a [`runtime::Runtime`], carries resizes out on their cgroups, and reports.
//!
//! It talks to the API only through a `kube::Client`, as a kubelet does; it cannot tell an in-process server from a
//! remote one.

pub mod runtime;
