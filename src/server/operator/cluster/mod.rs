//! The operator's side towards the API server: caches, queue, controller, leader, events.
