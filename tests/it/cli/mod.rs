//! The command line against a real server: transcripts of whole sittings, and what a transcript cannot show.

use std::{
    fs,
    process::{Command, Stdio},
};

use chorus::server::clock::{Clock as _, SystemClock};
use chrono::TimeDelta;

use crate::support::{
    binary::{ADMIN_PASSWORD, Server, Shell},
    golden::golden,
    totp,
};

mod desktops;
mod waiting;

fn signed_in(server: &Server) -> Shell {
    let mut shell = Shell::new(&server.grpc);
    let answer = shell.run_with("login --username chorus --password-stdin", ADMIN_PASSWORD);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    shell
}

/// Creates a user whose password is `PASSWORD`.
fn create_user(shell: &mut Shell, username: &str, first: &str, last: &str) {
    let line = format!("user create {username} --first-name {first} --last-name {last} --password-stdin -o name");
    let answer = shell.run_with(&line, PASSWORD);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
}

const PASSWORD: &str = "seven purple giraffes dance";

#[test]
fn signing_in_and_out() {
    let server = Server::start();
    let mut shell = Shell::new(&server.grpc);
    shell.run("whoami");
    shell.run_with("login --username chorus --password-stdin", "wrong");
    shell.run("login --username chorus");
    shell.run_with("login --username chorus --password-stdin", ADMIN_PASSWORD);
    shell.run("whoami");
    shell.run("whoami -o name");
    shell.run("server status -o name");
    let token = fs::read_to_string(shell.config().join("credentials.yaml")).unwrap();
    shell.run_with("password --password-stdin", &format!("{ADMIN_PASSWORD}\nshort\n"));
    shell.run_with("password --password-stdin", &format!("{ADMIN_PASSWORD}\n{PASSWORD}\n"));
    shell.run("logout");
    shell.run("whoami");
    // the session has ended at the server, not only here
    fs::write(shell.config().join("credentials.yaml"), token).unwrap();
    shell.run("whoami");
    golden("tests/it/data/cli/session.txt", &shell.transcript());
}

#[test]
fn guessing_a_password() {
    let server = Server::start();
    let mut shell = Shell::new(&server.grpc);
    let mut guess = |password| shell.run_with("login --username chorus --password-stdin", password);
    for _ in 0..5 {
        assert_eq!(guess("wrong").code, 4);
    }
    let refused = guess(ADMIN_PASSWORD);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    for part in ["too many wrong tries. Wait ", " seconds, then try again [SIGN_IN_THROTTLED]", "user reset-password"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
}

#[test]
fn users() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    create_user(&mut shell, "ada", "Ada", "Lovelace");
    create_user(&mut shell, "bob", "Bob", "Ross");
    create_user(&mut shell, "eve", "Eve", "Ross");
    shell.run("user list");
    shell.run("user list --sort username --desc --limit 2 -o name");
    shell.run("user list --search ross -o wide");
    shell.run("user get ada");
    shell.run("user get ADA -o yaml");
    shell.run("user update ada --email ada@example.org --last-name King");
    shell.run("user disable eve");
    shell.run("user get eve -o json");
    shell.run("user enable eve");
    shell.run_with("user create ada --first-name A --last-name B --password-stdin", PASSWORD);
    shell.run_with("user create carol --first-name C --last-name D --password-stdin", "password");
    shell.run("user create carol --first-name C --last-name D");
    shell.run("user get nobody");
    shell.run("user get kin");
    shell.run("user get 999");
    shell.run("user get name:2");
    shell.run("user update ada");
    shell.run("user delete bob");
    shell.run("user delete bob --yes");
    shell.run("user get bob -o json");
    golden("tests/it/data/cli/users.txt", &shell.transcript());
}

#[test]
fn generated_and_temporary_passwords() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    let answer = shell.run("user create ada --first-name Ada --last-name Lovelace --generate-password -o json");
    let user: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let password = user["password"].as_str().unwrap();
    shell.hide(password, "<password>");
    let mut ada = Shell::new(&server.grpc);
    assert_eq!(ada.run_with("login --username ada --password-stdin", password).code, 0);

    let temporary = shell.run("user reset-password ada").stdout.trim().to_owned();
    shell.hide(&temporary, "<password>");
    assert_eq!(ada.run("whoami").code, 4, "the reset ends the session");
    ada.run_with("login --username ada --password-stdin", &temporary);
    ada.run("workspace list");
    ada.run_with("password --password-stdin", &format!("{temporary}\n{PASSWORD}\n"));
    ada.run("workspace list");
    golden("tests/it/data/cli/passwords.txt", &format!("{}{}", shell.transcript(), ada.transcript()));
}

#[test]
fn a_second_factor() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    shell.run_with("totp enroll --password-stdin", "wrong");
    let enrolled = shell.run_with("totp enroll --password-stdin", ADMIN_PASSWORD);
    let secret = enrolled.stdout.lines().find_map(|line| line.strip_prefix("secret")).unwrap().trim().to_owned();
    let (_, recovery) = enrolled.stdout.split_once("recovery codes").unwrap();
    let recovery: Vec<_> = recovery.lines().map(|line| line.trim().to_owned()).collect();
    assert_eq!(recovery.len(), 10);
    let code = |steps: i64| totp::code(&secret, SystemClock.now() + TimeDelta::seconds(30 * steps));
    shell.run_with("totp enable --code-stdin", &code(-3));
    shell.run_with("totp enable --code-stdin", &code(0));
    shell.run("whoami");

    const LOGIN: &str = "login --username chorus --password-stdin";
    shell.run_with(LOGIN, ADMIN_PASSWORD);
    let login = format!("{LOGIN} --totp-stdin");
    shell.run_with(&login, &format!("{ADMIN_PASSWORD}\n"));
    shell.run_with(&login, &format!("{ADMIN_PASSWORD}\n000000\n"));
    // the server takes the next code already
    shell.run_with(&login, &format!("{ADMIN_PASSWORD}\n{}\n", code(1)));
    shell.run_with(&login, &format!("{ADMIN_PASSWORD}\n{}\n", recovery[0]));
    shell.run_with(&login, &format!("{ADMIN_PASSWORD}\n{}\n", recovery[0]));

    shell.run_with("totp enroll --password-stdin", ADMIN_PASSWORD);
    shell.run_with("totp disable --password-stdin --yes", ADMIN_PASSWORD);
    shell.run("totp disable --yes");
    let data = shell.run_with("totp enroll --password-stdin -o json", ADMIN_PASSWORD).stdout;
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    let fresh = [data["totpSecret"].as_str().unwrap()];
    let fresh =
        fresh.into_iter().chain(data["totpRecoveryCodes"].as_array().unwrap().iter().filter_map(|c| c.as_str()));
    shell.hide(&secret, "<secret>");
    for code in recovery.iter().map(String::as_str).chain(fresh) {
        shell.hide(code, if code.contains('-') { "<code>" } else { "<secret>" });
    }
    golden("tests/it/data/cli/totp.txt", &shell.transcript());
    assert!(shell.run_with("totp enroll --password-stdin --qr", ADMIN_PASSWORD).stdout.contains("█▀▀▀▀▀█"));
}

#[test]
fn the_keyring() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    let data = server.data().display().to_string();
    for line in ["status", "rotate --prepare", "status", "rotate", "status", "rotate --drop-old --prepare"] {
        shell.run(&format!("secrets {line} --data-dir {data}"));
    }
    shell.run("whoami -o name");
    for line in ["rotate --drop-old", "rotate --drop-old", "status"] {
        shell.run(&format!("secrets {line} --data-dir {data}"));
    }
    shell.run("secrets status --data-dir /nowhere");
    shell.hide(&data, "<data>");
    golden("tests/it/data/cli/secrets.txt", &shell.transcript());
}

#[test]
fn workspaces_and_members() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    create_user(&mut shell, "ada", "Ada", "Lovelace");
    create_user(&mut shell, "bob", "Bob", "Ross");
    shell.run("workspace list");
    shell.run("workspace create Genomics --short-name gen --description 'Rare variants' --contact ada");
    shell.run("workspace create Imaging --network-policy allowlist --allowed-fqdn '*.example.org' -o json");
    shell.run("workspace create Imaging -o name");
    shell.run("workspace list --sort name --desc");
    shell.run("workspace list --search variant -o wide");
    shell.run("workspace get gen -o yaml");
    shell.run("workspace get imaging");
    shell.run("workspace update gen --visibility public --clipboard to-server");
    shell.run("workspace update gen");
    shell.run("workspace update 2 --network-policy open --no-allowed-fqdns -o name");
    shell.run("workspace create Bad --network-policy allowlist --allowed-fqdn 'not a host'");
    shell.run("workspace public");
    shell.run("workspace member add gen ada");
    shell.run("workspace member add gen ada");
    shell.run("workspace member add gen bob --role WorkspaceAdmin");
    shell.run("workspace member add gen bob --role NoSuchRole");
    shell.run("workspace member list gen --sort username");
    shell.run("workspace member remove gen bob --role WorkspaceAdmin");
    shell.run("workspace member remove gen ada");
    shell.run("workspace member list gen -o name");
    shell.run("workspace delete gen");
    shell.run("workspace delete gen --yes");
    shell.run("workspace get 1");
    golden("tests/it/data/cli/workspaces.txt", &shell.transcript());
}

#[test]
fn roles_and_notifications() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    create_user(&mut shell, "ada", "Ada", "Lovelace");
    shell.run("workspace create Genomics -o name");
    shell.run("role list --scope workspace");
    shell.run("role permissions WorkspaceGuest -o name");
    shell.run("role grant ada WorkspaceMember");
    shell.run("role grant ada WorkspaceMember --workspace genomics");
    shell.run("role grant ada platformauditor");
    shell.run("role grant ada PlatformAuditor --workspace 1");
    shell.run("role grant ada NoSuchRole");
    shell.run("role revoke ada PlatformAuditor");
    shell.run("role revoke ada PlatformAuditor");
    shell.run("user get ada");

    let mut ada = Shell::new(&server.grpc);
    ada.run_with("login --username ada --password-stdin", PASSWORD);
    ada.run("workspace list");
    ada.run("workspace update 1 --name Mine");
    ada.run("user list");
    ada.run("workspace create Mine -o json");
    ada.run("role grant @me SuperAdmin");
    let list = ada.run("notification list --unread --asc");
    assert_eq!(list.code, 0);
    ada.run("notification read --all");
    ada.run("notification list --unread");
    golden("tests/it/data/cli/roles.txt", &format!("{}{}", shell.transcript(), ada.transcript()));
}

#[test]
fn sessions() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    create_user(&mut shell, "ada", "Ada", "Lovelace");
    let mut ada = Shell::new(&server.grpc);
    ada.run_with("login --username ada --password-stdin", PASSWORD);
    let mut elsewhere = Shell::new(&server.grpc);
    elsewhere.run_with("login --username ada --password-stdin", PASSWORD);
    ada.run("session list");
    ada.run("session list --sort lastseenat --desc --limit 1 -o yaml");
    ada.run("session list -o name");
    ada.run("session list --user chorus");
    ada.run("session list --user 1");
    ada.run("session revoke");
    ada.run("session revoke nowhere");
    ada.run("session revoke --others");
    ada.run("session revoke --others --yes");
    elsewhere.run("whoami");

    shell.run("session list --user ada");
    let listed = shell.run("session list --user ada -o json");
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    shell.run(&format!("session revoke {}", listed[0]["id"].as_str().unwrap()));
    ada.run("whoami");
    ada.run_with("login --username ada --password-stdin", PASSWORD);
    shell.run("session revoke --user ada --all");
    shell.run("session revoke --user ada --all --yes");
    shell.run("session list --user ada");
    golden("tests/it/data/cli/sessions.txt", &format!("{}{}", ada.transcript(), shell.transcript()));
}

#[test]
fn audit_trail() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    shell.run("workspace create genomics");
    create_user(&mut shell, "ada", "Ada", "Lovelace");
    shell.run("workspace member add genomics ada --role WorkspaceAdmin");
    create_user(&mut shell, "bob", "Bob", "Ross");
    let mut ada = Shell::new(&server.grpc);
    ada.run_with("login --username ada --password-stdin", PASSWORD);
    ada.run("user delete bob --yes");
    shell.run("audit list");
    shell.run("audit list --workspace genomics -o wide");
    shell.run("audit list --actor ada --outcome refused -o json");
    shell.run("audit list --since 24h --action CreateUser --limit 1");
    shell.run("audit list --until 2020-01-01");
    shell.run("audit list --mine -o name --limit 2");
    shell.run("audit list --since yesterday");
    shell.run("audit list --outcome maybe");
    shell.run("audit export");
    shell.run("audit export --after 3 --action AddWorkspaceMember");
    shell.run("audit export --after 99");
    shell.run("audit export -o yaml");
    golden("tests/it/data/cli/audit.txt", &shell.transcript());
    // what somebody else may read
    ada.run("audit list");
    ada.run("audit list --workspace genomics -o name");
    ada.run("audit list --user @me -o name");
    ada.run("audit list --user 1");
    ada.run("audit list --actor chorus");
    ada.run("audit list --actor ada --action LoginUser -o name");
    ada.run("audit list --workbench 5");
    golden("tests/it/data/cli/audit-of-others.txt", &ada.transcript());
}

#[cfg(unix)]
#[test]
fn an_export_is_whole_and_private_or_not_there() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    let mut shell = signed_in(&server);
    for number in 0..3 {
        shell.run(&format!("workspace create w{number}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trail.ndjson");
    let answer = shell.run(&format!("audit export --file {}", file.display()));
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""), "{}", answer.stderr);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    let ids: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(ids.len() >= 4 && ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert!(answer.stderr.contains(&format!("--after {}", ids.last().unwrap())), "{}", answer.stderr);
    assert_eq!(shell.run("audit export").stdout, text);
    let rest = shell.run(&format!("audit export --after {}", ids[1])).stdout;
    assert_eq!(rest.lines().count(), ids.len() - 2);
    assert!(text.ends_with(&rest));

    // a failure leaves the old file, says so, and leaves nothing else behind
    let answer = shell.run(&format!("audit export --file {} --server http://127.0.0.1:9", file.display()));
    assert_ne!(answer.code, 0);
    assert!(answer.stderr.contains("was not written"), "{}", answer.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let answer = shell.run("audit export --file /no/such/folder/trail.ndjson");
    assert_eq!(answer.code, 1);
}

#[test]
fn roles_of_ones_own() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    create_user(&mut shell, "ada", "Ada", "Lovelace");
    shell.run("workspace create Genomics -o name");
    shell.run("role create Reader --workspace genomics --permission getWorkspace,listFilesInWorkspace");
    shell.run(
        "role create Inviter --permission listUsers --permission searchUsers --description 'Finds people' -o json",
    );
    shell.run("role create reader --permission listUsers");
    shell.run("role create Flyer --permission fly");
    shell.run("role create Seer --permission getWorkspace");
    shell.run("role create Empty");
    shell.run("role show reader");
    shell.run("role list -o wide --scope workspace");
    shell.run("role grant ada reader");
    shell.run("role grant ada Inviter");
    shell.run("role update Reader --add-permission createWorkbench --remove-permission listFilesInWorkspace");
    shell.run("role update Reader --remove-permission createUser");
    shell.run("role update Reader");
    shell.run("role update WorkspaceMember --permission getWorkspace");
    shell.run("role delete Reader");
    shell.run("role delete Reader --yes");
    shell.run("role delete Reader --yes --revoke-assignments");
    shell.run("role delete Reader --yes");

    let mut ada = Shell::new(&server.grpc);
    ada.run_with("login --username ada --password-stdin", PASSWORD);
    ada.run("role show Inviter -o name");
    ada.run("role update Inviter --description Mine");
    ada.run("role create Boss --permission createUser");
    ada.run("notification list --asc");
    golden("tests/it/data/cli/own-roles.txt", &format!("{}{}", shell.transcript(), ada.transcript()));
}

#[test]
fn tokens() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    shell.run("workspace create Genomics -o name");
    shell.run("workspace create Imaging -o name");
    shell.run("user create-service ci-bot --display-name 'Nightly builds' -o name");
    shell.run("workspace member add genomics ci-bot");
    let line =
        "token create nightly --user ci-bot --scope getWorkspace@workspace=genomics --scope getMyOwnUser --expires 90d";
    let token = shell.run(&format!("{line} --cidr 127.0.0.0/8")).stdout;
    let made = shell.run("token create mine --scope 'getWorkspace@workspace=*' --expires 1h -o json");
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    shell.run("token create mine --scope createWorkspace --expires 1h");
    shell.run("token create mine --scope getWorkspace --expires 1h");
    shell.run("token create mine --scope createWorkspace");
    shell.run("token create mine --scope createWorkspace --expires 1000d");

    let mut ci = Shell::new(&server.grpc);
    let file = ci.config().with_extension("token");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, &token).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let with_file = |line: &str| format!("{line} --token-file {}", file.display());
    ci.run(&with_file("whoami -o name"));
    ci.run(&with_file("workspace list"));
    ci.run(&with_file("workspace get 2"));
    ci.run(&with_file("token list"));

    shell.run("token list --user ci-bot");
    shell.run("token list -o wide");
    shell.run("token revoke nightly");
    shell.run("token revoke nightly --user ci-bot");
    shell.run("token list --user ci-bot --all");
    ci.run(&with_file("whoami"));
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    ci.run(&with_file("whoami"));
    for shell in [&mut shell, &mut ci] {
        shell.hide(token.trim(), "<token>");
        shell.hide(made["token"].as_str().unwrap(), "<token>");
        shell.hide(&token[..19], "<begin>");
        shell.hide(made["info"]["prefix"].as_str().unwrap(), "<begin>");
        shell.hide(&file.display().to_string(), "<file>");
    }
    golden("tests/it/data/cli/tokens.txt", &format!("{}{}", shell.transcript(), ci.transcript()));
}

#[test]
fn no_server_and_wrong_usage() {
    // nothing listens on the discard port
    let mut shell = Shell::new("http://127.0.0.1:9");
    shell.run("whoami");
    shell.run("workspace list -o json");
    shell.run("workspace get");
    shell.run("workspace list --sort size");
    shell.run("user get 0");
    shell.run("whoami --server http://example.org");
    shell.run("whoami --server example.org");
    shell.run("whoami --profile nowhere --server ''");
    shell.run("whoami --timeout 3d");
    golden("tests/it/data/cli/errors.txt", &shell.transcript());
}

#[test]
fn a_token_is_only_sent_to_its_server() {
    let (here, there) = (Server::start(), Server::start());
    let mut shell = signed_in(&here);
    let answer = shell.run(&format!("whoami --server {}", there.grpc));
    assert_eq!(answer.code, 4, "{}", answer.stderr);
    assert_eq!(shell.run("whoami").code, 0);
}

#[test]
fn a_token_from_the_environment_goes_first() {
    let server = Server::start();
    let shell = signed_in(&server);
    let output = shell.command("whoami").env("CHORUS_TOKEN", "nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("CHORUS_TOKEN is not valid here"));
}

#[cfg(unix)]
#[test]
fn credentials_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    let mut shell = signed_in(&server);
    let file = shell.config().join("credentials.yaml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let answer = shell.run("whoami");
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("chmod 600"), "{}", answer.stderr);
}

#[test]
fn a_reader_who_goes_away_is_no_error() {
    let server = Server::start();
    let shell = signed_in(&server);
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let pipe = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    let output = shell.command("role permissions -o json").stdout(pipe).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
}

#[test]
fn verbose_output_has_no_secrets() {
    let server = Server::start();
    let mut shell = Shell::new(&server.grpc);
    let answer = shell.run_with("login --username chorus --password-stdin -vv", ADMIN_PASSWORD);
    let token = fs::read_to_string(shell.config().join("credentials.yaml")).unwrap();
    let token = token.lines().find_map(|line| line.trim().strip_prefix("token: ")).unwrap();
    assert!(answer.stderr.contains("> AuthenticationService/Authenticate"), "{}", answer.stderr);
    assert!(!answer.stderr.contains(ADMIN_PASSWORD) && !answer.stderr.contains(token.trim_matches('"')));
}
