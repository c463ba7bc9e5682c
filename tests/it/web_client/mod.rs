//! The web client, request by request, against the running server over REST.
//!
//! The client is a program of others that must work as it is, so these tests send what it sends, in its order, and look
//! for what it looks for: each screen's sequence, the shape of each object, and the cookie as its only credential.

mod admin;
mod apps;
mod audit;
mod browser;
mod conventions;
mod members;
mod notifications;
mod session;
mod shapes;
mod unbuilt;
mod workbenches;
mod workspaces;
