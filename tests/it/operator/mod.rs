//! The operator on a cluster: what people see of desktops, whatever goes wrong meanwhile.
//!
//! ```text
//! scenario ──kube::Client──► cluster in memory (tests/it/support/cluster), or the one that CHORUS_TEST_KUBECONFIG names
//! operator ──kube::Client──►   "
//! ```
//!
//! In memory, time is virtual: it jumps to the next timer when nobody has anything to do, so a test waits for conditions
//! and never for the clock, and ten minutes without a write take a blink. [`lifecycle`] runs on a real cluster as well.

mod adoption;
mod desktops;
mod faults;
mod isolation;
mod leader;
mod lifecycle;
mod machinery;
mod network;
mod permissions;
mod storage;
mod world;
