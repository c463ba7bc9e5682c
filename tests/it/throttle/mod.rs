//! Guessing is slow, and does not keep out whoever owns the account.

mod places;
mod sign_in;
