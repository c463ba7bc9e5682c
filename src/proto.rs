//! What the build generated from the contract.
