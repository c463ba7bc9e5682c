//! The second factor: what is stored of it, and whether a code is good.
//!
//! ```text
//! sign-in, users ──► verify      a code of the app, or a recovery code ── used up in the caller's transaction
//!      users ──────► set_up      a new secret, sealed, and new recovery codes, hashed
//!      users ──────► remove      with the password that an administrator resets, or the account
//! ```
//!
//! What always holds: a code is accepted once, whichever replica it is shown to and however many times at once; where no
//! secret is stored no code is right; a secret is stored sealed and leaves this room once, when it is made. Whether a user
//! is asked for a code at all is a column of the account.

mod store;

use secrecy::SecretString;

use crate::server::{
    access::{
        caller::Account,
        seal::{Place, TOTP_SECRET},
        totp::{Code, RECOVERY_CODES, RecoveryCode, Secret, Typed},
    },
    error::{Error, Result},
    pipeline::{Authorized, Change},
    services::notifications::{Content, Recipient, notify},
};

pub use store::remove;

/// A new second factor, to be shown once.
pub struct SetUp {
    /// The secret as apps take it.
    pub secret: SecretString,
    /// The recovery codes.
    pub recovery_codes: Vec<SecretString>,
}

/// Gives a user a new secret and new recovery codes; those before are void.
pub async fn set_up(change: &mut Change, by: &Authorized, user: i64) -> Result<SetUp> {
    let shared = by.call().shared();
    let secret = Secret::generate(&*shared.random);
    let sealed = shared.sealer.seal(change, place(user), secret.expose(), &*shared.random).await?;
    store::put_secret(change, by, user, &sealed).await?;
    let codes: Vec<_> = (0..RECOVERY_CODES).map(|_| RecoveryCode::generate(&*shared.random)).collect();
    let hashes: Vec<_> = codes.iter().map(|code| code.hash(user)).collect();
    store::replace_recovery_codes(change, by, user, &hashes).await?;
    Ok(SetUp { secret: secret.base32(), recovery_codes: codes.iter().map(RecoveryCode::shown).collect() })
}

/// Whether this is a code of the account's second factor. It is used up by that, if the caller commits; a recovery code
/// that was used is told to its owner.
pub async fn verify(change: &mut Change, by: &Authorized, account: &Account, code: &SecretString) -> Result<bool> {
    match Typed::read(code) {
        Some(Typed::App(code)) => verify_app(change, by, account.id, code).await,
        Some(Typed::Recovery(code)) => use_recovery_code(change, by, account, &code).await,
        None => Ok(false),
    }
}

/// The same for what only the authenticator app can tell.
pub async fn verify_of_app(change: &mut Change, by: &Authorized, user: i64, code: &SecretString) -> Result<bool> {
    match Typed::read(code) {
        Some(Typed::App(code)) => verify_app(change, by, user, code).await,
        Some(Typed::Recovery(_)) | None => Ok(false),
    }
}

/// Tells a user what happened to the second factor.
pub async fn tell(change: &mut Change, by: &Authorized, account: &Account, message: &str) -> Result<()> {
    let to = Recipient { tenant_id: account.tenant_id, user_id: account.id };
    notify(change, to, by.call().shared().random.uuid(), message, Content::Plain, by.now()).await
}

async fn verify_app(change: &mut Change, by: &Authorized, user: i64, code: Code) -> Result<bool> {
    let Some(stored) = store::secret(change, by, user).await? else { return Ok(false) };
    let opened = by.call().shared().sealer.open(place(user), &stored.secret)?;
    let secret = Secret::from_bytes(&opened).ok_or_else(|| Error::internal("a secret for codes has a wrong length"))?;
    match secret.step_of(code, by.now(), stored.last_step) {
        Some(step) => store::use_step(change, by, user, step).await,
        None => Ok(false),
    }
}

async fn use_recovery_code(
    change: &mut Change,
    by: &Authorized,
    account: &Account,
    code: &RecoveryCode,
) -> Result<bool> {
    let Some(left) = store::use_recovery_code(change, by, account.id, &code.hash(account.id)).await? else {
        return Ok(false);
    };
    by.call().subjects().detail("recovery_codes_left", &left.to_string());
    let message = format!(
        "A recovery code of your account was used. {left} are left. If that was not you, change your password at once."
    );
    tell(change, by, account, &message).await?;
    Ok(true)
}

/// Where the secret of a user is stored.
fn place(user: i64) -> Place {
    Place { column: &TOTP_SECRET, row: user }
}
