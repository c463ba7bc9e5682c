//! Tickets: one use, one desktop, half a minute, and what becomes of them.
