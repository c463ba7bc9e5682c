//! The first start: the default tenant and its administrator.
//!
//! What always holds: an administrator is made once, for a database that never had a user; however many replicas start
//! at once, one of them does it and the others see it. Later starts change nothing, whatever the configuration says.

use std::path::Path;

use secrecy::SecretString;

use super::store;
use crate::server::{
    access::{
        catalogue::{AUTHENTICATED, Dimension, SUPER_ADMIN},
        context::{Bound, Context},
        password::Hasher,
    },
    clock::Clock,
    config::Config,
    db::{Db, Tx},
    error::{Error, Result},
    services::roles,
};

/// The tenant of the first administrator, and of visitors.
const DEFAULT_TENANT: &str = "default";

/// The administrator whom this start created.
pub struct FirstAdmin {
    /// The user name.
    pub username: String,
    /// The password that was made up, to be told once; nothing when a file gave it.
    pub password: Option<SecretString>,
}

/// Makes the default tenant and, if nobody ever had an account, the administrator. Returns the tenant, and the
/// administrator when this call made it.
///
/// # Errors
/// When the password file cannot be read or its password is too weak, or the database fails.
pub async fn bootstrap(
    db: &Db,
    config: &Config,
    hasher: &Hasher,
    clock: &dyn Clock,
) -> Result<(i64, Option<FirstAdmin>)> {
    // the usual start: nothing to do, and nothing is hashed or locked to find out
    if let Some(tenant) = store::tenant(db, DEFAULT_TENANT).await?
        && store::has_users(db).await?
    {
        return Ok((tenant, None));
    }
    let admin = Admin::new(config, hasher).await?;
    let mut tx = db.transaction().await?;
    tx.lock("chorus.bootstrap").await?;
    store::insert_tenant(&mut tx, DEFAULT_TENANT, clock.now()).await?;
    let missing = || Error::internal("the default tenant was stored and is not there");
    let tenant = store::tenant(&mut tx, DEFAULT_TENANT).await?.ok_or_else(missing)?;
    let created = !store::has_users(&mut tx).await?;
    if created {
        admin.insert(&mut tx, tenant, clock).await?;
    }
    tx.commit().await?;
    Ok((tenant, created.then_some(FirstAdmin { username: admin.username, password: admin.told })))
}

/// The administrator before there is a row.
struct Admin {
    first_name: String,
    username: String,
    hash: String,
    told: Option<SecretString>,
}

const LAST_NAME: &str = "Default";

impl Admin {
    async fn new(config: &Config, hasher: &Hasher) -> Result<Self> {
        let username = config.admin_username.clone();
        let first_name = title_case(&username);
        let names = vec![username.clone(), LAST_NAME.to_owned()];
        let (told, hash) = match &config.admin_password_file {
            Some(file) => (None, hasher.accept("admin_password_file", read(file).await?, names).await?),
            None => {
                let (password, hash) = hasher.temporary(names).await?;
                (Some(password), hash)
            }
        };
        Ok(Self { first_name, username, hash, told })
    }

    async fn insert(&self, tx: &mut Tx, tenant: i64, clock: &dyn Clock) -> Result<()> {
        let now = clock.now();
        let fields = store::Fields {
            first_name: &self.first_name,
            last_name: LAST_NAME,
            username: &self.username,
            email: "",
            status: "active",
        };
        // the administrator's own, also when it was made up: only this start tells it, and to nobody else
        let origin = store::Origin::Internal { password_hash: &self.hash };
        let account = store::insert(tx, tenant, &fields, &origin, now).await?;
        let everything = Dimension::ALL.into_iter().fold(Context::NONE, |c, dimension| c.with(dimension, Bound::Any));
        for (role, context) in [(AUTHENTICATED, Context::user(account.id)), (SUPER_ADMIN, everything)] {
            roles::insert(&mut *tx, tenant, account.id, role, &context, now).await?;
        }
        Ok(())
    }
}

/// The password in the file, without the line end that editors add.
async fn read(file: &Path) -> Result<SecretString> {
    let text = tokio::fs::read_to_string(file).await.map_err(|error| {
        let text = format!("admin_password_file: {} cannot be read: {error}.", file.display());
        Error::invalid("ADMIN_PASSWORD_FILE", text)
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

fn title_case(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::{
        access::{
            grant::is_super_admin,
            password::{Rank, Verdict},
        },
        clock::SystemClock,
        db::sql,
        random::SeededRandom,
        services::users::tests::config,
    };

    fn hasher() -> Hasher {
        Hasher::start(Arc::new(SeededRandom::new(1))).unwrap()
    }

    async fn is_password(password: SecretString, hash: &str) -> bool {
        let verdict = hasher().queue(Rank::Known).unwrap().verify(password, Some(hash.to_owned())).await;
        verdict.unwrap() == Verdict::Right { outdated: false }
    }

    #[test]
    fn names_start_with_a_capital() {
        for (name, titled) in [("chorus", "Chorus"), ("élan", "Élan"), ("", ""), ("ßa", "SSa")] {
            assert_eq!(title_case(name), titled);
        }
    }

    #[tokio::test]
    async fn the_administrator_is_made_once() {
        let db = Db::memory().await.unwrap();
        let (tenant, admin) = bootstrap(&db, &config(), &hasher(), &SystemClock).await.unwrap();
        let admin = admin.unwrap();
        let row: (i64, String, String, String, bool) =
            sql("SELECT id, first_name, last_name, password_hash, password_changed FROM users").one(&db).await.unwrap();
        assert_eq!(
            (admin.username.as_str(), row.1.as_str(), row.2.as_str(), row.4),
            ("chorus", "Chorus", "Default", true)
        );
        let told = admin.password.unwrap();
        assert!(is_password(told, &row.3).await);
        let held = roles::of(&db, row.0).await.unwrap();
        assert_eq!(held.len(), 2);
        assert!(held.iter().any(is_super_admin));

        let (again, admin) = bootstrap(&db, &config(), &hasher(), &SystemClock).await.unwrap();
        assert_eq!(again, tenant);
        assert!(admin.is_none());
    }

    #[tokio::test]
    async fn a_file_gives_the_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut config = config();
        config.admin_password_file = Some(file.path().to_owned());
        let db = Db::memory().await.unwrap();
        for (text, fine) in [("short\n", false), ("a heron eats wet clocks\r\n", true)] {
            std::fs::write(file.path(), text).unwrap();
            let made = bootstrap(&db, &config, &hasher(), &SystemClock).await;
            assert_eq!(made.is_ok(), fine, "{text}");
        }
        let (hash,): (String,) = sql("SELECT password_hash FROM users").one(&db).await.unwrap();
        assert!(is_password("a heron eats wet clocks".into(), &hash).await);
    }
}
