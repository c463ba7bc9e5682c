//! App instances: the apps that run, or ran, in a workbench.

pub mod snapshot;
