//! The layers, and the exact words of refusals.

use std::{ffi::OsString, fs, path::Path};

use super::{
    keys::{DefaultValue, KEYS, Key, Kind},
    *,
};

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn flags(pairs: &[(&str, &[&str])]) -> Vec<(&'static Key, Vec<String>)> {
    pairs
        .iter()
        .map(|(name, values)| (Key::find(name).unwrap(), values.iter().map(|v| (*v).to_owned()).collect()))
        .collect()
}

/// Loads one file; the path in refusals is cut to its name.
fn from_file(yaml: &str) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chorus.yaml");
    fs::write(&path, yaml).unwrap();
    let prefix = format!("{}/", dir.path().display());
    load(&Sources { files: vec![path], ..Sources::default() })
        .map_err(|problems| problems.to_string().replace(&prefix, ""))
}

fn refusal(yaml: &str) -> String {
    let text = from_file(yaml).unwrap_err();
    text.strip_prefix("the configuration is refused:\n  ").unwrap().to_owned()
}

fn values(loaded: &Loaded) -> Vec<(&'static str, String)> {
    loaded.effective.iter().map(|one| (one.key.name, show::yaml(&one.value))).collect()
}

#[test]
fn defaults_are_those_of_the_table() {
    let loaded = load(&Sources::default()).unwrap();
    let config = &loaded.config;
    assert_eq!(config.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(config.keys, Path::new("./chorus-data/keys"));
    assert_eq!(config.database_url.expose(), "sqlite:./chorus-data/chorus.db");
    assert_eq!(config.session_max_lifetime.as_secs(), 7 * 24 * 3600);
    assert!(config.workspace.creator_is_admin && !config.secure_cookie());
    assert!(loaded.effective.iter().all(|one| one.origin == "default"));
    assert!(loaded.ignored.is_empty());
}

#[test]
fn later_layers_win_and_origins_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("1.yaml"), dir.path().join("2.yaml"));
    fs::write(&one, "listen: 127.0.0.1:1\ngrpc_listen: 127.0.0.1:2\ndata_dir: /a\nworkspace:\n  gid_offset: 1\n")
        .unwrap();
    fs::write(&two, "grpc_listen: 127.0.0.1:3\ndata_dir: /b\nworkspace.gid_offset: 2\ncors_origins: [http://a.org]\n")
        .unwrap();
    let sources = Sources {
        files: vec![one.clone(), two.clone()],
        environment: variables(&[
            ("CHORUS_DATA_DIR", "/c"),
            ("CHORUS_CORS_ORIGINS", "http://b.org, http://c.org"),
            ("CHORUS_KEYS", ""),
        ]),
        flags: flags(&[("metrics", &["false"]), ("cors_origins", &["http://d.org"])]),
    };
    let loaded = load(&sources).unwrap();
    let config = &loaded.config;
    assert_eq!((config.listen.port(), config.grpc_listen.port()), (1, 3));
    assert_eq!(config.data_dir, Path::new("/c"));
    assert_eq!(config.keys, Path::new("/c/keys"), "derived from the value that won; an empty variable is none");
    assert_eq!(config.workspace.gid_offset, 2);
    assert!(config.workspace.creator_is_admin, "the rest of the section keeps its defaults");
    assert_eq!(config.cors_origins.iter().map(CorsOrigin::as_str).collect::<Vec<_>>(), ["http://d.org"]);
    assert!(!config.metrics);
    let origin = |name: &str| loaded.effective.iter().find(|one| one.key.name == name).unwrap().origin.clone();
    assert_eq!(origin("listen"), format!("{}:1", one.display()));
    assert_eq!(origin("workspace.gid_offset"), format!("{}:3", two.display()));
    assert_eq!(origin("data_dir"), "CHORUS_DATA_DIR");
    assert_eq!(origin("cors_origins"), "--cors-origin");
    assert_eq!(origin("user.uid_offset"), "default");
}

#[test]
fn files_are_refused_with_line_key_and_reason() {
    for (yaml, expected) in [
        ("listn: 1\n", "chorus.yaml:1: `listn`: is not a key of this server; did you mean `listen`?"),
        (
            "\nworkspace:\n  gid_ofset: 1\n",
            "chorus.yaml:3: `workspace.gid_ofset`: is not a key of this server; did you mean `workspace.gid_offset`?",
        ),
        ("zzz: 1\n", "chorus.yaml:1: `zzz`: is not a key of this server; `chorus config example` lists them"),
        (
            "daemon:\n  http:\n    port: 5000\n",
            "chorus.yaml:3: `daemon.http.port`: is not a key of this server; use `listen`",
        ),
        ("daemon: {}\n", "chorus.yaml:1: `daemon`: has no counterpart: this server has no such setting; remove it"),
        (
            "listen: nonsense\n",
            "chorus.yaml:1: `listen`: \"nonsense\" is not an address to listen on: write IP:PORT, such as 127.0.0.1:5000, 0.0.0.0:5000 or [::1]:5000",
        ),
        ("listen:\n", "chorus.yaml:1: `listen`: has no value: give one, or remove the line"),
        ("listen: 5000\n", "chorus.yaml:1: `listen`: must be text: put it in quotes"),
        ("listen: {port: 1}\n", "chorus.yaml:1: `listen`: must be text"),
        ("metrics: 'yes'\n", "chorus.yaml:1: `metrics`: must be true or false"),
        ("request_timeout: 30\n", "chorus.yaml:1: `request_timeout`: needs a unit, such as 30s, 12h or 7d"),
        ("request_timeout: 0s\n", "chorus.yaml:1: `request_timeout`: \"0s\" must be longer than nothing"),
        (
            "database_max_connections: 0\n",
            "chorus.yaml:1: `database_max_connections`: \"0\" is not a whole number from 1 to 1000",
        ),
        ("log_format: xml\n", "chorus.yaml:1: `log_format`: \"xml\" is not one of auto, human, json"),
        (
            "runtime: kubernetes\n",
            "chorus.yaml:1: `runtime`: \"kubernetes\" is not built yet; use `local` for evaluation, or `none`",
        ),
        ("workspace: 5\n", "chorus.yaml:1: `workspace`: is a section: write its keys below it, indented"),
        (
            "workspace:\n  gid_offset: 1\nworkspace.gid_offset: 2\n",
            "chorus.yaml:3: `workspace.gid_offset`: is given twice",
        ),
        (
            "cors_origins: ['http://a.org', '*']\n",
            "chorus.yaml:1: `cors_origins`: \"*\" has a wildcard: list each origin, since its pages act with the user's cookie",
        ),
        (
            "database_url: mysql://u:hunter2@h/d\n",
            "chorus.yaml:1: `database_url`: is not a database: write postgres://USER:PASSWORD@HOST/NAME or sqlite:FILE",
        ),
        ("[1]\n", "chorus.yaml:1: must be a map of keys to values"),
        (
            "listen: 127.0.0.1:5555\n",
            "default: `grpc_listen`: is the same address as `listen`; give each listener its own port",
        ),
        (
            "session_idle_timeout: 8d\n",
            "chorus.yaml:1: `session_idle_timeout`: is longer than `session_max_lifetime`, which ends the session first",
        ),
        (
            "session_max_lifetime: 367d\n",
            "chorus.yaml:1: `session_max_lifetime`: is longer than 366 days; people have to sign in again some time",
        ),
        (
            "token_max_lifetime: 4000d\n",
            "chorus.yaml:1: `token_max_lifetime`: is longer than ten years; a token that nobody renews is a token that nobody knows",
        ),
    ] {
        assert_eq!(refusal(yaml), expected);
    }
}

#[test]
fn broken_yaml_is_refused_with_its_line() {
    for yaml in ["listen: [\n", "listen: a\nlisten: b\n", "a: b: c\n"] {
        let text = refusal(yaml);
        assert!(text.starts_with("chorus.yaml:") && text.contains("is not valid YAML: "), "{text}");
    }
    let missing = load(&Sources { files: vec!["no/such.yaml".into()], ..Sources::default() }).unwrap_err().to_string();
    assert!(missing.contains("\n  no/such.yaml: cannot be read: "), "{missing}");
}

#[test]
fn all_problems_are_reported_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    fs::write(&path, "listn: x\nmetrics: 1\n").unwrap();
    let sources = Sources {
        files: vec![path],
        environment: variables(&[("CHORUS_LISTEN", "x")]),
        flags: flags(&[("log_level", &["loud"])]),
    };
    let Problems(problems) = load(&sources).unwrap_err();
    let keys: Vec<_> =
        problems.iter().map(|problem| (problem.origin.to_string(), problem.key.clone().unwrap())).collect();
    let file = dir.path().join("c.yaml").display().to_string();
    let expected = [
        (format!("{file}:1"), "listn"),
        (format!("{file}:2"), "metrics"),
        ("CHORUS_LISTEN".to_owned(), "listen"),
        ("--log-level".to_owned(), "log_level"),
    ];
    assert_eq!(keys, expected.map(|(origin, key)| (origin, key.to_owned())));
}

#[test]
fn foreign_variables_are_listed_or_silent() {
    let silent = [
        "CHORUS_SERVER",
        "CHORUS_TOKEN",
        "CHORUS_PROFILE",
        "CHORUS_CONFIG",
        "CHORUS_TEST_POSTGRES",
        "CHORUS_SERVICE_HOST",
        "CHORUS_SERVICE_PORT",
        "CHORUS_SERVICE_PORT_HTTP",
        "CHORUS_PORT",
        "CHORUS_PORT_5000_TCP",
        "CHORUS_PORT_5000_TCP_ADDR",
        "CHORUS_WEB_SERVICE_HOST",
        "CHORUS_WEB_PORT_80_TCP_PROTO",
        "PATH",
        "CHORUSX",
    ];
    let loud = ["CHORUS_DAEMON_HTTP_PORT_X", "CHORUS_LISTN", "CHORUS_WORKSPACE__GID_OFFSET"];
    let pairs: Vec<_> = silent.iter().chain(&loud).map(|name| (*name, "x")).collect();
    let loaded = load(&Sources { environment: variables(&pairs), ..Sources::default() }).unwrap();
    assert_eq!(loaded.ignored, loud);
}

#[test]
fn no_variable_of_ours_looks_like_somebody_elses() {
    for key in KEYS.iter() {
        let name = key.variable();
        let sample = match key.kind {
            Kind::Choice(words) => words[0],
            Kind::Bool => "true",
            Kind::Number(..) | Kind::List(_) => "1",
            Kind::Duration { .. } => "1s",
            Kind::Text(_) => "?",
        };
        let sources = Sources { environment: variables(&[(&name, sample)]), ..Sources::default() };
        let seen = match load(&sources) {
            Ok(loaded) => loaded.effective.iter().any(|one| one.origin == name),
            Err(Problems(problems)) => problems[0].origin.to_string() == name || problems[0].key.is_some(),
        };
        assert!(seen, "{name} has no effect");
    }
}

#[test]
fn the_example_holds_every_key_and_parses_back_to_the_defaults() {
    let defaults = values(&load(&Sources::default()).unwrap());
    let untouched = example();
    assert_eq!(values(&from_file(&untouched).unwrap()), defaults);
    let active = |line: &str| {
        let body = line.trim_start();
        let indent = &line[..line.len() - body.len()];
        match body.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{indent}{rest}\n"),
            _ => format!("{line}\n"),
        }
    };
    let uncommented: String = untouched.lines().map(active).collect();
    let loaded = from_file(&uncommented).unwrap();
    assert_eq!(values(&loaded), defaults);
    for one in loaded.effective {
        let from_file = one.origin.starts_with("chorus.yaml") || one.origin.contains("/chorus.yaml:");
        assert!(
            from_file || !matches!(one.key.default, DefaultValue::Value(_)),
            "{} is not in the example",
            one.key.name
        );
    }
}

#[test]
fn what_is_shown_loads_again_and_hides_passwords() {
    let sources = Sources {
        environment: variables(&[
            ("CHORUS_DATABASE_URL", "postgres://u:hunter2@h/d"),
            ("CHORUS_CORS_ORIGINS", "http://a.org,http://b.org"),
        ]),
        flags: flags(&[("admin_username", &["yes"])]),
        ..Sources::default()
    };
    let loaded = load(&sources).unwrap();
    let text = show(&loaded.effective, true);
    assert!(text.contains("database_url: \"postgres://u:***@h/d\"  # CHORUS_DATABASE_URL\n"), "{text}");
    assert!(text.contains("listen: \"127.0.0.1:5000\"  # default\n"), "{text}");
    assert!(text.contains("admin_username: \"yes\"  # --admin-username\n"), "{text}");
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));
    let again = from_file(&show(&loaded.effective, false)).unwrap();
    let except_url =
        |loaded: &Loaded| values(loaded).into_iter().filter(|(name, _)| *name != "database_url").collect::<Vec<_>>();
    assert_eq!(except_url(&again), except_url(&loaded));
}

#[test]
fn secure_cookies_follow_how_browsers_come() {
    for (yaml, secure) in [
        ("", false),
        ("listen: 0.0.0.0:5000", true),
        ("public_url: https://a.org", true),
        ("cookie_same_site: none", true),
        ("cookie_secure: always", true),
        ("listen: 0.0.0.0:5000\ncookie_secure: never", false),
    ] {
        assert_eq!(from_file(yaml).unwrap().config.secure_cookie(), secure, "{yaml}");
    }
}
