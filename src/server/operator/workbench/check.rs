//! What the schema of the resource refuses today, and objects from before it may still hold.
//!
//! What always holds: whatever passes makes children that the API server takes, and paths that stay where they belong.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::{
    super::api::{
        self,
        workbench::{App, Image},
    },
    images, names,
    pass::Pass,
};
use crate::server::quantity::Quantity;

/// Why something cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In one word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Reasons after which an app starts as soon as what they name is put right.
pub const REASONS: [&str; 8] = [
    INVALID_NAME,
    IMAGE_REQUIRED,
    "InvalidImage",
    "InvalidUser",
    "InvalidResources",
    super::storage::CONFLICT,
    super::apps::REFUSED,
    super::apps::NOT_OURS,
];

const INVALID_NAME: &str = "InvalidName";
const IMAGE_REQUIRED: &str = "ImageRequired";

/// The longest login: it is the name of folders.
const LONGEST_USER: usize = 255;
/// Uids of people; below are those that images use themselves.
const USER_IDS: std::ops::RangeInclusive<i64> = 1001..=2_147_483_647;
/// The longest name of an app.
const LONGEST_NAME: usize = 30;

/// Whether a workbench can have children at all.
pub fn workbench(pass: &Pass<'_>) -> Result<(), Refusal> {
    if !names::is_service_name(pass.name()) {
        let message = "The name must be a DNS label that begins with a letter, of at most 63 characters.";
        return Err(refusal(INVALID_NAME, message));
    }
    Ok(())
}

/// Whether the server can be made.
pub fn server(pass: &Pass<'_>) -> Result<(), Refusal> {
    let server = pass.workbench.spec.server.as_ref();
    server.and_then(|server| server.resources.as_ref()).map_or(Ok(()), resources)
}

/// Whether an app can be started.
pub fn app(pass: &Pass<'_>, id: &str, app: &App) -> Result<(), Refusal> {
    if !names::is_label_value(id) || !is_app_name(&app.name) {
        let message = "Key and name must be letters, digits, '-', '_' and '.', the name at most 30 of them.";
        return Err(refusal(INVALID_NAME, message));
    }
    image(&app.image)?;
    let (user, uid) = pass.user();
    if !is_user(user) || !USER_IDS.contains(&uid) {
        let message = "The user must be letters, digits, '-', '_' and '.', with a uid from 1001 to 2147483647.";
        return Err(refusal("InvalidUser", message));
    }
    app.resources.as_ref().map_or(Ok(()), resources)?;
    let shm = app.shm_size.as_ref();
    if shm.is_some_and(|size| Quantity::parse(&size.0).is_none()) {
        return Err(refusal("InvalidResources", "shmSize is not a quantity."));
    }
    Ok(())
}

/// Whether all are quantities, and nothing that is set aside is more than what may be used.
pub fn resources(resources: &ResourceRequirements) -> Result<(), Refusal> {
    let (limits, requests) = (amounts(resources.limits.as_ref())?, amounts(resources.requests.as_ref())?);
    let excess = requests.iter().find(|(name, amount)| limits.get(**name).is_some_and(|limit| limit < *amount));
    match excess {
        Some((name, _)) => Err(refusal("InvalidResources", &format!("The request of {name} is above its limit."))),
        None => Ok(()),
    }
}

/// Quantities by name.
pub type Amounts = BTreeMap<String, api::Quantity>;

fn amounts(quantities: Option<&Amounts>) -> Result<BTreeMap<&str, Quantity>, Refusal> {
    let read =
        |(name, quantity): (&'_ String, &api::Quantity)| Quantity::parse(&quantity.0).ok_or_else(|| name.clone());
    let mut amounts = BTreeMap::new();
    for entry in quantities.into_iter().flatten() {
        let amount = read(entry)
            .map_err(|name| refusal("InvalidResources", &format!("The amount of {name} is not a quantity.")))?;
        amounts.insert(entry.0.as_str(), amount);
    }
    Ok(amounts)
}

fn image(image: &Image) -> Result<(), Refusal> {
    if images::base(image).is_none() {
        return Err(refusal(IMAGE_REQUIRED, "image.repository is missing."));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let parts = [&image.registry, &image.repository, &image.tag];
    if parts.into_iter().flatten().all(|part| part.bytes().all(plain)) {
        return Ok(());
    }
    Err(refusal("InvalidImage", "The image has characters that no image has."))
}

/// The contract: it starts with a letter, a digit or `_`.
fn is_app_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && is_word(name)
}

/// A login is part of paths: it is no `..` and has no `/`.
fn is_user(user: &str) -> bool {
    user.len() <= LONGEST_USER && is_word(user)
}

fn is_word(text: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().next().is_some_and(first) && text.bytes().all(|byte| first(byte) || byte == b'-' || byte == b'.')
}

fn refusal(reason: &'static str, message: &str) -> Refusal {
    Refusal { reason, message: message.to_owned() }
}
