//! What a caller sets of an app, checked beyond the shapes that the contract states.

use url::Url;

use crate::server::quantity::Quantity;
use crate::{
    proto::v1,
    server::error::{Error, Result},
};

/// The best of the words for how mature an app is.
pub(super) const READY: &str = "ready";

/// All of it: what is left out is empty, and the status `active`.
#[derive(Debug)]
pub(super) struct Wanted {
    pub app: v1::App,
}

impl Wanted {
    /// Checks the app of a request.
    pub fn parse(app: v1::App) -> Result<Self> {
        Self::within(app, "")
    }

    /// The apps of a list; errors name them as `apps[3]`.
    pub fn parse_all(apps: Vec<v1::App>) -> Result<Vec<Self>> {
        apps.into_iter().enumerate().map(|(at, app)| Self::within(app, &format!("apps[{at}]."))).collect()
    }

    fn within(mut app: v1::App, prefix: &str) -> Result<Self> {
        let refuse = |(field, rule, text): Broken| Error::field(format!("{prefix}{field}"), rule, text);
        [required(&app), status(&app), registry(&app), addresses(&app), limits(&app)]
            .into_iter()
            .collect::<Result<(), Broken>>()
            .map_err(refuse)?;
        if app.status.is_empty() {
            "active".clone_into(&mut app.status);
        }
        Ok(Self { app })
    }
}

/// The field, its rule, and what to do.
type Broken = (&'static str, &'static str, String);

fn broken(field: &'static str, rule: &'static str, text: impl Into<String>) -> Result<(), Broken> {
    Err((field, rule, text.into()))
}

/// The contract says so of a single app; the apps of a list are only looked at here.
fn required(app: &v1::App) -> Result<(), Broken> {
    if app.name.trim().is_empty() {
        let rule = if app.name.is_empty() { "required" } else { "not_blank" };
        return broken("name", rule, "The name must have a visible character.");
    }
    for (field, value) in [("dockerImageName", &app.docker_image_name), ("dockerImageTag", &app.docker_image_tag)] {
        if value.is_empty() {
            return broken(field, "required", format!("{field} must not be empty."));
        }
    }
    Ok(())
}

fn status(app: &v1::App) -> Result<(), Broken> {
    match &*app.status {
        "deleted" => {
            let text = "An app is deleted with DELETE /api/rest/v1/apps/{id}, not by its status.";
            broken("status", "not_deleted", text)
        }
        _ => Ok(()),
    }
}

/// The shape is the contract's; a port is a number of 16 bits, and a host name has no empty part.
fn registry(app: &v1::App) -> Result<(), Broken> {
    let registry = &*app.docker_image_registry;
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    if host.contains("..") || port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return broken("dockerImageRegistry", "registry", "A registry is a host name, with :port if it needs one.");
    }
    Ok(())
}

fn addresses(app: &v1::App) -> Result<(), Broken> {
    for (field, text) in
        [("browserConfigURL", &app.browser_config_url), ("browserConfigJWTURL", &app.browser_config_jwt_url)]
    {
        address(field, text)?;
    }
    match app.icon_url.starts_with("data:") {
        true => Ok(()),
        false => address("iconURL", &app.icon_url),
    }
}

/// An http(s) address that browsers can open, without a password in it: everybody who sees the catalogue would.
fn address(field: &'static str, text: &str) -> Result<(), Broken> {
    if text.is_empty() {
        return Ok(());
    }
    let Some(url) = Url::parse(text).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
    else {
        return broken(field, "url", format!("{field} must be an http or https address."));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return broken(field, "no_credentials", format!("{field} must not hold a user name or password."));
    }
    Ok(())
}

/// Each is a quantity, and what is set aside is no more than what may be used.
fn limits(app: &v1::App) -> Result<(), Broken> {
    amount("shmSize", &app.shm_size)?;
    for (least, min, most, max) in [
        ("minCPU", &app.min_cpu, "maxCPU", &app.max_cpu),
        ("minMemory", &app.min_memory, "maxMemory", &app.max_memory),
        ("minEphemeralStorage", &app.min_ephemeral_storage, "maxEphemeralStorage", &app.max_ephemeral_storage),
    ] {
        if let (Some(min), Some(max)) = (amount(least, min)?, amount(most, max)?)
            && min > max
        {
            return broken(least, "lte_max", format!("{least} must not be more than {most}."));
        }
    }
    Ok(())
}

fn amount(field: &'static str, text: &str) -> Result<Option<Quantity>, Broken> {
    match (text.is_empty(), Quantity::parse(text)) {
        (true, _) => Ok(None),
        (false, Some(quantity)) => Ok(Some(quantity)),
        (false, None) => {
            let text = format!("{field} must be a quantity such as 2Gi, and not more than 8388607Ti.");
            Err((field, "quantity", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(change: impl FnOnce(&mut v1::App)) -> v1::App {
        let mut app = v1::App {
            name: "RStudio".to_owned(),
            docker_image_name: "apps/rstudio".to_owned(),
            docker_image_tag: "4.4".to_owned(),
            ..v1::App::default()
        };
        change(&mut app);
        app
    }

    #[test]
    fn an_app_is_active_unless_it_says_otherwise() {
        assert_eq!(Wanted::parse(app(|_| {})).unwrap().app.status, "active");
        assert_eq!(Wanted::parse(app(|a| a.status = "inactive".to_owned())).unwrap().app.status, "inactive");
    }

    #[test]
    fn refusals_name_field_and_rule() {
        type Case = (fn(&mut v1::App), &'static str, &'static str);
        let cases: &[Case] = &[
            (|a| a.name.clear(), "name", "required"),
            (|a| a.name = " \u{2003}".to_owned(), "name", "not_blank"),
            (|a| a.docker_image_name.clear(), "dockerImageName", "required"),
            (|a| a.docker_image_tag.clear(), "dockerImageTag", "required"),
            (|a| a.status = "deleted".to_owned(), "status", "not_deleted"),
            (|a| a.docker_image_registry = "registry.example.org:0".to_owned(), "dockerImageRegistry", "registry"),
            (|a| a.docker_image_registry = "registry.example.org:65536".to_owned(), "dockerImageRegistry", "registry"),
            (|a| a.docker_image_registry = "registry..org".to_owned(), "dockerImageRegistry", "registry"),
            (|a| a.browser_config_url = "https://[::1".to_owned(), "browserConfigURL", "url"),
            (
                |a| a.browser_config_url = "https://me:secret@example.org".to_owned(),
                "browserConfigURL",
                "no_credentials",
            ),
            (
                |a| a.browser_config_jwt_url = "https://me@example.org".to_owned(),
                "browserConfigJWTURL",
                "no_credentials",
            ),
            (|a| a.icon_url = "https://".to_owned(), "iconURL", "url"),
            (|a| a.shm_size = "99999999999G".to_owned(), "shmSize", "quantity"),
            (|a| a.max_cpu = "99999999999999999999".to_owned(), "maxCPU", "quantity"),
            (|a| (a.min_cpu, a.max_cpu) = ("1.5".to_owned(), "1499m".to_owned()), "minCPU", "lte_max"),
            (|a| (a.min_memory, a.max_memory) = ("1Gi".to_owned(), "1G".to_owned()), "minMemory", "lte_max"),
            (
                |a| (a.min_ephemeral_storage, a.max_ephemeral_storage) = ("2M".to_owned(), "1.5Mi".to_owned()),
                "minEphemeralStorage",
                "lte_max",
            ),
        ];
        for (change, field, rule) in cases {
            for (prefix, parsed) in [
                ("", Wanted::parse(app(change)).map(drop)),
                ("apps[1].", Wanted::parse_all(vec![app(|_| {}), app(change)]).map(drop)),
            ] {
                let status = parsed.unwrap_err().into_status("/");
                let found = &crate::server::error::detail(&status).unwrap().validation_errors[0];
                assert_eq!((&*found.field, &*found.reason), (&*format!("{prefix}{field}"), *rule));
            }
        }
    }

    #[test]
    fn what_is_fine() {
        let changes: &[fn(&mut v1::App)] = &[
            |a| (a.min_cpu, a.max_cpu) = ("1500m".to_owned(), "1.5".to_owned()),
            |a| (a.min_memory, a.max_memory) = ("1G".to_owned(), "1Gi".to_owned()),
            |a| a.min_memory = "512Mi".to_owned(),
            |a| a.docker_image_registry = "registry.example.org:5000".to_owned(),
            |a| a.browser_config_url = "http://localhost:8080/app?x=1#y".to_owned(),
            |a| a.icon_url = "data:image/png;base64,AAAA".to_owned(),
        ];
        for (at, change) in changes.iter().enumerate() {
            assert!(Wanted::parse(app(change)).is_ok(), "{at}");
        }
    }
}
