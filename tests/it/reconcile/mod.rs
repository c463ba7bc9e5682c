//! The loop that reconciles, over a real database of each engine and a runtime that follows a script.

mod crashes;
mod failures;
mod life;
mod replicas;
mod scene;
