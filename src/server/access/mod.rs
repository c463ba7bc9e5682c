//! Who somebody is and what they may do: roles and permissions, passwords, keys and tokens.

pub mod address;
pub mod api_token;
pub mod api_tokens;
pub mod audit;
pub mod caller;
pub mod catalogue;
pub mod context;
pub mod decide;
#[cfg(test)]
mod escalation;
pub mod grant;
mod hash_pool;
pub mod keyring;
pub mod kiosk;
mod memory;
pub mod password;
mod password_policy;
pub mod rights;
pub mod scope;
pub mod seal;
pub mod sessions;
pub mod stream_pass;
pub mod throttle;
pub mod token;
pub mod totp;
