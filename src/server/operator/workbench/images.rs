//! Full names of images.

use super::super::{
    api::workbench::{Image, WorkbenchSpec},
    settings::Settings,
};

/// The tag where none is given.
const LATEST: &str = "latest";

/// The display server.
pub fn server(spec: &WorkbenchSpec, settings: &Settings) -> String {
    let version = spec.server.as_ref().and_then(|server| server.version.as_deref());
    let name = settings.xpra_server_image.clone().unwrap_or_else(|| {
        let repository = settings.apps_repository.trim_matches('/');
        prefixed(&settings.registry, &prefixed(repository, "xpra-server"))
    });
    tagged(&name, version)
}

/// The image that sets up the user of each app.
pub fn init(spec: &WorkbenchSpec, settings: &Settings) -> String {
    let version = spec.init_container.as_ref().and_then(|init| init.version.as_deref());
    let name = settings.init_container_image.clone();
    // not the apps repository of the settings: existing installations keep this image in `apps`
    tagged(&name.unwrap_or_else(|| prefixed(&settings.registry, "apps/app-init")), version)
}

/// An app; none without a repository.
pub fn app(image: &Image, settings: &Settings) -> Option<String> {
    base(image)?;
    let registry = image.registry.as_deref().filter(|registry| !registry.is_empty()).unwrap_or(&settings.registry);
    Some(tagged(&prefixed(registry, image.repository.as_deref()?), image.tag.as_deref()))
}

/// What an app's image calls itself: the last part of its repository.
pub fn base(image: &Image) -> Option<&str> {
    image.repository.as_deref()?.rsplit('/').next().filter(|base| !base.is_empty())
}

/// The tag of a full name; none where it has none, or a digest.
pub fn tag(image: &str) -> Option<&str> {
    let last = image.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag).filter(|_| !last.contains('@'))
}

/// `Always` for what may change under its name.
pub fn pull_policy(image: &str) -> String {
    let moves = !image.contains('@') && tag(image).is_none_or(|tag| tag == LATEST);
    if moves { "Always" } else { "IfNotPresent" }.to_owned()
}

fn prefixed(prefix: &str, name: &str) -> String {
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}

fn tagged(name: &str, tag: Option<&str>) -> String {
    format!("{name}:{}", tag.filter(|tag| !tag.is_empty()).unwrap_or(LATEST))
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::api::workbench::{InitContainer, Server},
        *,
    };

    fn settings(registry: &str, repository: &str) -> Settings {
        Settings { registry: registry.to_owned(), apps_repository: repository.to_owned(), ..Settings::default() }
    }

    #[test]
    fn servers() {
        let versioned = |version: &str| WorkbenchSpec {
            server: Some(Server { version: Some(version.to_owned()), ..Server::default() }),
            ..WorkbenchSpec::default()
        };
        for (registry, repository, spec, expected) in [
            ("reg.example", "apps", WorkbenchSpec::default(), "reg.example/apps/xpra-server:latest"),
            ("reg.example/", "/a/b/", versioned("6.2"), "reg.example/a/b/xpra-server:6.2"),
            ("", "", versioned(""), "xpra-server:latest"),
        ] {
            assert_eq!(server(&spec, &settings(registry, repository)), expected);
        }
        let named = Settings { xpra_server_image: Some("r:5000/x".to_owned()), ..settings("reg", "apps") };
        assert_eq!(server(&versioned("1"), &named), "r:5000/x:1");
    }

    #[test]
    fn set_up() {
        let spec = WorkbenchSpec {
            init_container: Some(InitContainer { version: Some("2".to_owned()) }),
            ..WorkbenchSpec::default()
        };
        assert_eq!(init(&spec, &settings("reg.example/", "elsewhere")), "reg.example/apps/app-init:2");
        let named = Settings { init_container_image: Some("x/init".to_owned()), ..Settings::default() };
        assert_eq!(init(&WorkbenchSpec::default(), &named), "x/init:latest");
    }

    #[test]
    fn apps() {
        let image = |registry: &str, repository: &str, tag: &str| Image {
            registry: Some(registry.to_owned()),
            repository: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
        };
        let settings = settings("reg.example", "apps");
        for (image, expected, name) in [
            (image("", "apps/rstudio", "4"), Some("reg.example/apps/rstudio:4"), Some("rstudio")),
            (image("other:5000/", "kiosk", ""), Some("other:5000/kiosk:latest"), Some("kiosk")),
            (image("other", "", "1"), None, None),
            (image("other", "apps/", "1"), None, None),
            (Image::default(), None, None),
        ] {
            assert_eq!(app(&image, &settings).as_deref(), expected);
            assert_eq!(base(&image), name);
        }
    }

    #[test]
    fn pulling() {
        for (image, expected) in [
            ("a/b:latest", "Always"),
            ("a/b", "Always"),
            ("host:5000/socat", "Always"),
            ("host:5000/socat:1.8", "IfNotPresent"),
            ("a/b@sha256:0123", "IfNotPresent"),
            ("a/b:latest@sha256:0123", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), expected, "{image}");
        }
        assert_eq!(tag("host:5000/x"), None);
        assert_eq!(tag("host:5000/x:7"), Some("7"));
    }
}
