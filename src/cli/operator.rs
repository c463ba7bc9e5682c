//! `chorus operator`: the Kubernetes operator by itself, and its tools.
