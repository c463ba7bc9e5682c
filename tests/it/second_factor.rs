//! The second factor from enrolment to reset: what is accepted, how often, and what is left behind.

use chorus::server::{clock::Clock as _, db::sql};
use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    server::{ADMIN_PASSWORD, Person, Reply, TestServer, on_each_engine},
    totp,
};

const LOGIN: &str = "/api/rest/v1/authentication/login";
const ME: &str = "/api/rest/v1/users/me";
const RESET: &str = "/api/rest/v1/users/me/totp/reset";
const ENABLE: &str = "/api/rest/v1/users/me/totp/enable";

async fn post(server: &TestServer, by: Option<&Person>, path: &str, body: Value) -> Reply {
    server.rest(by, Method::POST, path, Some(body)).await
}

async fn sign_in(server: &TestServer, username: &str, code: &str) -> Reply {
    let body = json!({"username": username, "password": ADMIN_PASSWORD, "totp": code});
    post(server, None, LOGIN, body).await
}

async fn me(server: &TestServer, by: &Person) -> Reply {
    server.rest(Some(by), Method::GET, ME, None).await
}

/// Somebody who has the administrator's password.
async fn person(server: &TestServer, username: &str) -> Person {
    let person = server.person(username, &[]).await;
    sql("UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE id = $1) WHERE id = $2")
        .bind(server.admin.id)
        .bind(person.id)
        .run(&server.db)
        .await
        .unwrap();
    person
}

/// A second factor as its owner knows it.
struct Factor {
    secret: String,
    recovery: Vec<String>,
}

impl Factor {
    async fn reset(server: &TestServer, by: &Person) -> Self {
        let reply = post(server, Some(by), RESET, json!({"password": ADMIN_PASSWORD})).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        Self::of(&reply)
    }

    fn of(reply: &Reply) -> Self {
        let result = &reply.body["result"];
        let recovery = result["totpRecoveryCodes"].as_array().unwrap();
        let recovery = recovery.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
        Self { secret: result["totpSecret"].as_str().unwrap().to_owned(), recovery }
    }

    /// A second factor that is on; the code of the moment is used up.
    async fn on(server: &TestServer, by: &Person) -> Self {
        let factor = Self::reset(server, by).await;
        let enabled = post(server, Some(by), ENABLE, json!({"totp": factor.code(server, 0)})).await;
        assert_eq!((enabled.status, &enabled.body), (200, &json!({"result": {}})));
        factor
    }

    /// The code of the moment, so many steps off.
    fn code(&self, server: &TestServer, steps: i64) -> String {
        totp::code(&self.secret, server.clock.now() + TimeDelta::seconds(30 * steps))
    }
}

fn wait(server: &TestServer, steps: i64) {
    server.clock.advance(TimeDelta::seconds(30 * steps));
}

#[tokio::test]
async fn from_enrolment_to_sign_in() {
    on_each_engine(|server| async move {
        let zoe = person(&server, "zoe").await;
        let elsewhere = server.sign_in(&zoe).await;
        let refused = post(&server, Some(&zoe), RESET, json!({"password": "not it"})).await;
        assert_eq!((refused.status, refused.reason()), (401, "INVALID_CREDENTIALS"));
        let nothing_yet = post(&server, Some(&zoe), ENABLE, json!({"totp": "123456"})).await;
        assert_eq!((nothing_yet.status, nothing_yet.reason()), (401, "INVALID_CREDENTIALS"));

        let factor = Factor::reset(&server, &zoe).await;
        assert_eq!((factor.secret.len(), factor.recovery.len()), (32, 10));
        assert_eq!(sign_in(&server, "zoe", "").await.status, 200, "off until a code was shown");
        assert_eq!(me(&server, &elsewhere).await.status, 200, "nothing has changed for anybody yet");
        for wrong in [factor.code(&server, 2), factor.code(&server, -2)] {
            let refused = post(&server, Some(&zoe), ENABLE, json!({"totp": wrong})).await;
            assert_eq!((refused.status, refused.reason()), (401, "INVALID_CREDENTIALS"));
        }
        let recovery = post(&server, Some(&zoe), ENABLE, json!({"totp": factor.recovery[0]})).await;
        assert_eq!(recovery.status, 400, "a recovery code does not show that the app is set up");
        let shown = factor.code(&server, 0);
        assert_eq!(post(&server, Some(&zoe), ENABLE, json!({"totp": shown})).await.status, 200);
        assert_eq!(me(&server, &zoe).await.body["result"]["me"]["totpEnabled"], true);
        assert_eq!(me(&server, &elsewhere).await.reason(), "SESSION_ENDED");

        let asked = sign_in(&server, "zoe", "").await;
        assert_eq!((asked.status, asked.reason()), (400, "TWO_FACTOR_REQUIRED"));
        let used = sign_in(&server, "zoe", &shown).await;
        assert_eq!((used.status, used.reason()), (401, "INVALID_CREDENTIALS"), "used up when it was turned on");
        wait(&server, 1);
        let code = factor.code(&server, 0);
        assert_eq!(sign_in(&server, "zoe", &format!("{} {}", &code[..3], &code[3..])).await.status, 200);
        assert_eq!(sign_in(&server, "zoe", &code).await.status, 401, "once");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_code_reads_like_a_wrong_password() {
    on_each_engine(|server| async move {
        Factor::on(&server, &server.admin).await;
        let body = json!({"username": "chorus", "password": "wrong", "totp": "000000"});
        let password = post(&server, None, LOGIN, body).await;
        for code in ["000000", "abcd-efgh-ijkl-mnop-qrst-uvwx", "x"] {
            assert_eq!(sign_in(&server, "chorus", code).await.body, password.body);
        }
    })
    .await;
}

#[tokio::test]
async fn clocks_may_differ_by_one_step() {
    on_each_engine(|server| async move {
        let factor = Factor::on(&server, &server.admin).await;
        for (steps, status) in [(-2, 401), (2, 401), (-1, 200), (0, 200), (1, 200), (-1, 401), (0, 401), (1, 401)] {
            if (steps, status) == (-2, 401) {
                wait(&server, 10);
            }
            let reply = sign_in(&server, "chorus", &factor.code(&server, steps)).await;
            assert_eq!(reply.status, status, "{steps}");
        }
    })
    .await;
}

#[tokio::test]
async fn of_many_at_once_one_gets_in() {
    on_each_engine(|server| async move {
        let factor = Factor::on(&server, &server.admin).await;
        wait(&server, 1);
        let replica = server.replica().await;
        for code in [factor.code(&server, 0), factor.recovery[3].clone()] {
            let tries = (0..8).map(|i| sign_in(if i % 2 == 0 { &server } else { &replica }, "chorus", &code));
            let mut statuses: Vec<_> = join_all(tries).await.iter().map(|reply| reply.status).collect();
            statuses.sort_unstable();
            // whoever comes too often has to wait
            assert!(
                statuses[0] == 200 && statuses[1..].iter().all(|status| [401, 429].contains(status)),
                "{statuses:?}"
            );
        }
        replica.stop().await;
    })
    .await;
}

#[tokio::test]
async fn recovery_codes_are_good_once() {
    on_each_engine(|server| async move {
        let zoe = person(&server, "zoe").await;
        let (factor, other) = (Factor::on(&server, &zoe).await, Factor::on(&server, &server.admin).await);
        assert_eq!(sign_in(&server, "zoe", &other.recovery[0]).await.status, 401, "somebody else's");
        for code in [&factor.recovery[0], &factor.recovery[1].to_uppercase().replace('-', " ")] {
            assert_eq!(sign_in(&server, "zoe", code).await.status, 200);
            assert_eq!(sign_in(&server, "zoe", code).await.status, 401);
        }
        let told: Vec<(String,)> = sql(
            "SELECT message FROM notifications WHERE user_id = $1 AND message LIKE 'A recovery code%' ORDER BY message",
        )
        .bind(zoe.id)
        .all(&server.db)
        .await
        .unwrap();
        let told: Vec<_> =
            told.iter().map(|(text,)| text.contains("8 are left") || text.contains("9 are left")).collect();
        assert_eq!(told, [true, true]);

        let again = Factor::reset(&server, &zoe).await;
        let enabled = post(&server, Some(&zoe), ENABLE, json!({"totp": again.code(&server, 0)})).await;
        assert_eq!(enabled.status, 200);
        assert_eq!(sign_in(&server, "zoe", &factor.recovery[5]).await.status, 401, "of the secret before");
        assert_eq!(sign_in(&server, "zoe", &again.recovery[5]).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn turning_it_off_takes_both_factors() {
    on_each_engine(|server| async move {
        let zoe = person(&server, "zoe").await;
        let factor = Factor::on(&server, &zoe).await;
        server.clock.advance(TimeDelta::minutes(16));
        let reset = async |by: &Person, code: &str| {
            post(&server, Some(by), RESET, json!({"password": ADMIN_PASSWORD, "totp": code})).await
        };
        let asked = reset(&zoe, "").await;
        assert_eq!((asked.status, asked.reason()), (400, "TWO_FACTOR_REQUIRED"));
        assert_eq!(reset(&zoe, "000000").await.reason(), "INVALID_CREDENTIALS");
        assert_eq!(me(&server, &zoe).await.body["result"]["me"]["totpEnabled"], true);

        let elsewhere = server.sign_in(&zoe).await;
        let off = reset(&zoe, &factor.code(&server, 0)).await;
        assert_eq!(off.status, 200, "{:?}", off.body);
        assert_eq!(me(&server, &zoe).await.body["result"]["me"]["totpEnabled"], false);
        assert_eq!(me(&server, &elsewhere).await.reason(), "SESSION_ENDED");
        assert_eq!(sign_in(&server, "zoe", "").await.status, 200);

        // a fresh sign-in showed both
        let factor = Factor::of(&off);
        wait(&server, 1);
        assert_eq!(post(&server, Some(&zoe), ENABLE, json!({"totp": factor.code(&server, 0)})).await.status, 200);
        let fresh = server.sign_in(&zoe).await;
        assert_eq!(reset(&fresh, "").await.status, 200);
        let told: (i64,) =
            sql("SELECT count(*) FROM notifications WHERE user_id = $1 AND message LIKE 'The second factor%'")
                .bind(zoe.id)
                .one(&server.db)
                .await
                .unwrap();
        assert_eq!(told.0, 4, "on, off, on, off");
    })
    .await;
}

#[tokio::test]
async fn who_has_no_password_of_their_own_here_has_no_second_factor() {
    on_each_engine(|server| async move {
        let external = person(&server, "external").await;
        sql("UPDATE users SET source = 'keycloak' WHERE id = $1").bind(external.id).run(&server.db).await.unwrap();
        let passwordless = server.person("service", &[]).await;
        server.forget();
        for who in [&external, &passwordless] {
            let refused = post(&server, Some(who), RESET, json!({"password": ADMIN_PASSWORD})).await;
            assert_eq!((refused.status, refused.reason()), (400, "USER_HAS_NO_PASSWORD"), "{}", who.username);
        }
        let newcomer = server.restricted(&[("Authenticated", &[("user", "*")])]).await;
        for (path, body) in [(RESET, json!({"password": "x"})), (ENABLE, json!({"totp": "123456"}))] {
            let refused = post(&server, Some(&newcomer), path, body).await;
            assert_eq!((refused.status, refused.reason()), (403, "PASSWORD_CHANGE_REQUIRED"));
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_secret_of_its_own_no_code_is_right() {
    on_each_engine(|server| async move {
        let zoe = person(&server, "zoe").await;
        sql("UPDATE users SET totp_enabled = TRUE WHERE id = $1").bind(zoe.id).run(&server.db).await.unwrap();
        for code in ["123456", "000000", "abcd-efgh-ijkl-mnop-qrst-uvwx", "anything"] {
            assert_eq!(sign_in(&server, "zoe", code).await.reason(), "INVALID_CREDENTIALS", "{code}");
        }
        // a row that somebody copied from another user opens nothing
        let factor = Factor::on(&server, &server.admin).await;
        sql("INSERT INTO totp_secrets (user_id, secret, created_at) SELECT $1, secret, created_at FROM totp_secrets")
            .bind(zoe.id)
            .run(&server.db)
            .await
            .unwrap();
        wait(&server, 1);
        assert_eq!(sign_in(&server, "zoe", &factor.code(&server, 0)).await.status, 500);
        assert_eq!(sign_in(&server, "chorus", &factor.code(&server, 0)).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn an_administrator_ends_it_with_the_password() {
    on_each_engine(|server| async move {
        let (zoe, yan) = (person(&server, "zoe").await, person(&server, "yan").await);
        Factor::on(&server, &zoe).await;
        Factor::on(&server, &yan).await;
        let path = format!("/api/rest/v1/users/{}/password/reset", zoe.id);
        assert_eq!(post(&server, Some(&server.admin), &path, json!({})).await.status, 200);
        let path = format!("/api/rest/v1/users/{}", yan.id);
        assert_eq!(server.rest(Some(&server.admin), Method::DELETE, &path, None).await.status, 200);
        let left: (i64, i64, i64) = sql("SELECT (SELECT count(*) FROM users WHERE totp_enabled), \
             (SELECT count(*) FROM totp_secrets), (SELECT count(*) FROM recovery_codes)")
        .one(&server.db)
        .await
        .unwrap();
        assert_eq!(left, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn the_database_keeps_it_to_itself() {
    on_each_engine(|server| async move {
        let factor = Factor::on(&server, &server.admin).await;
        assert_eq!(sign_in(&server, "chorus", &factor.recovery[0]).await.status, 200);
        let stored: Vec<(String,)> = sql("SELECT secret FROM totp_secrets UNION ALL SELECT hash FROM recovery_codes \
             UNION ALL SELECT CAST(details AS TEXT) FROM audit_log UNION ALL SELECT message FROM notifications")
        .all(&server.db)
        .await
        .unwrap();
        let all = stored.iter().map(|(text,)| text.as_str()).collect::<Vec<_>>().join("\n");
        let bytes = data_encoding::BASE32_NOPAD.decode(factor.secret.as_bytes()).unwrap();
        let secrets =
            [factor.secret.clone(), data_encoding::HEXLOWER.encode(&bytes), data_encoding::BASE64.encode(&bytes)];
        for secret in secrets.iter().chain(&factor.recovery) {
            assert!(!all.contains(secret.as_str()));
        }
        assert!(all.starts_with("v1."), "sealed");

        let records: Vec<(String, String, String)> =
            sql("SELECT action, outcome, CAST(details AS TEXT) FROM audit_log ORDER BY id")
                .all(&server.db)
                .await
                .unwrap();
        let records: Vec<_> = records.iter().map(|(action, outcome, _)| (action.as_str(), outcome.as_str())).collect();
        assert_eq!(records, [("ResetUserTotp", "ok"), ("EnableUserTotp", "ok"), ("LoginUser", "ok")]);
    })
    .await;
}
