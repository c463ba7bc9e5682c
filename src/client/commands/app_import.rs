//! `chorus app import`: many apps from a file, all of them or none.
//!
//! The file is a list in YAML or JSON, with the names of the REST API, so that `chorus app list --versions -o yaml` writes what
//! can be read here. What is wrong is told by the number and name of the entry, whether this program or the server finds it.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
};

use clap::Args;
use prost_reflect::{DeserializeOptions, DynamicMessage};
use serde_json::Value;

use super::app::columns;
use crate::{
    client::{
        Context, connect,
        error::{Error, Result},
        output::{Format, Resource as _, say},
    },
    proto::{
        self,
        v1::{App, BulkCreateAppsRequest},
    },
};

/// The largest file that is read; the server takes 16 MiB.
const MOST_BYTES: u64 = 16 << 20;

/// `chorus app import`.
#[derive(Debug, Args)]
#[command(after_help = "\
The file is a list of apps with the names of the REST API; ids, owners and times in it are ignored:

  - name: RStudio
    dockerImageName: apps/rstudio
    dockerImageTag: \"4.4.1\"
    maxMemory: 4Gi
    status: active

Examples:
  chorus app import -f apps.yaml
  chorus --profile old app list --versions -o yaml | chorus --profile new app import -f -")]
pub struct Import {
    /// The file, in YAML or JSON; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

impl Import {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        let name = self.name();
        let apps = parse(&self.read()?).map_err(|why| Error::usage(format!("cannot read {name}: {why}")))?;
        let names: Vec<_> = apps.iter().map(|app| app.name.clone()).collect();
        let request = BulkCreateAppsRequest { apps };
        let what = format!("import {} of {name}", count(names.len()));
        let call = context.session.call(&what, "AppService/BulkCreateApps", request, async |channel, request| {
            connect::apps(channel).bulk_create_apps(request).await
        });
        let created = call.await.map_err(|error| error.map_fields(|field| name_entry(field, &names)))?.apps;
        if context.printer.format() == Format::Table {
            say(&format!("imported {}", count(created.len())));
        }
        context.printer.list(&created, &columns())
    }

    fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn name(&self) -> String {
        if self.is_stdin() { "standard input".to_owned() } else { self.file.display().to_string() }
    }

    fn read(&self) -> Result<String> {
        let failed = |error: io::Error| Error::usage(format!("cannot read {}: {error}", self.name()));
        let mut text = String::new();
        let read = match self.is_stdin() {
            true => io::stdin().take(MOST_BYTES + 1).read_to_string(&mut text),
            false => fs::File::open(&self.file).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text)),
        };
        match read.map_err(failed)? as u64 {
            0..=MOST_BYTES => Ok(text),
            _ => Err(Error::usage(format!("{} is larger than 16 MiB", self.name()))),
        }
    }
}

fn count(number: usize) -> String {
    if number == 1 { "1 app".to_owned() } else { format!("{number} apps") }
}

/// The apps of a list, or what is wrong with it.
fn parse(text: &str) -> Result<Vec<App>, String> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let entries = match value {
        Value::Array(entries) => entries,
        // what BulkCreateApps takes and answers
        Value::Object(mut reply) if reply.len() == 1 => match reply.remove("apps") {
            Some(Value::Array(entries)) => entries,
            _ => return Err("it is no list of apps".to_owned()),
        },
        _ => return Err("it is no list of apps".to_owned()),
    };
    if entries.is_empty() {
        return Err("it has no apps".to_owned());
    }
    let named = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let apps = entries.into_iter().enumerate().map(|(index, entry)| {
        let title = title(index, &named(&entry));
        app(entry).map_err(|why| format!("{title}: {why}"))
    });
    apps.collect()
}

fn app(entry: Value) -> Result<App, String> {
    if !entry.is_object() {
        return Err("it is no app".to_owned());
    }
    if let Some(field) = entry.as_object().and_then(|fields| fields.iter().find(|(_, value)| value.is_number())) {
        // a tag of 4.10 would silently have become 4.1
        return Err(format!("{}: write the number in quotes", field.0));
    }
    let descriptor = proto::pool().get_message_by_name(App::MESSAGE).ok_or("this client does not know apps")?;
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(descriptor, entry, &options).map_err(|e| e.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}

/// An entry as messages name it.
fn title(index: usize, name: &str) -> String {
    match name {
        "" => format!("entry {}", index + 1),
        name => format!("entry {} ({name:?})", index + 1),
    }
}

/// `apps[2].maxMemory` as people count: `entry 3 ("RStudio"): maxMemory`.
fn name_entry(field: &str, names: &[String]) -> String {
    let parts = field.strip_prefix("apps[").and_then(|rest| rest.split_once(']'));
    let index = parts.and_then(|(index, _)| index.parse::<usize>().ok());
    match (parts, index.and_then(|index| Some((index, names.get(index)?)))) {
        (Some((_, rest)), Some((index, name))) => match rest.strip_prefix('.') {
            Some(rest) => format!("{}: {rest}", title(index, name)),
            None => title(index, name),
        },
        _ => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_json_and_what_a_list_prints() {
        let expected = App {
            name: "RStudio".to_owned(),
            docker_image_name: "apps/rstudio".to_owned(),
            docker_image_tag: "4.10".to_owned(),
            max_cpu: "2".to_owned(),
            ..App::default()
        };
        let yaml = "- name: RStudio\n  dockerImageName: apps/rstudio\n  dockerImageTag: \"4.10\"\n  maxCPU: \"2\"\n";
        let json =
            r#"[{"name": "RStudio", "dockerImageName": "apps/rstudio", "dockerImageTag": "4.10", "maxCPU": "2"}]"#;
        for text in [yaml, json, &format!("{{\"apps\": {json}}}")] {
            assert_eq!(parse(text).unwrap(), std::slice::from_ref(&expected), "{text}");
        }
        let mut out = Vec::new();
        crate::client::output::Printer::to(Format::Yaml, &mut out)
            .list(std::slice::from_ref(&expected), &columns())
            .unwrap();
        assert_eq!(parse(&String::from_utf8(out).unwrap()).unwrap(), [expected]);
    }

    #[test]
    fn what_is_wrong_is_told_by_entry() {
        let table = [
            (
                "- name: A\n- name: B\n  dockerImageTag: 4.10\n",
                "entry 2 (\"B\"): dockerImageTag: write the number in quotes",
            ),
            ("- name: A\n  image: x\n", "entry 1 (\"A\"): unrecognized field name 'image'"),
            ("- name: A\n- x\n", "entry 2: it is no app"),
            ("- name: [a]\n", "entry 1: invalid type: sequence, expected a string"),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
        for text in ["{}", "name: A", "[]", "apps: 3", "", "- [", "12"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn fields_of_the_server_are_told_by_entry() {
        let names = ["A".to_owned(), String::new()];
        for (field, expected) in [
            ("apps[0].maxMemory", "entry 1 (\"A\"): maxMemory"),
            ("apps[1].name", "entry 2: name"),
            ("apps[0]", "entry 1 (\"A\")"),
            ("apps[7].name", "apps[7].name"),
            ("apps", "apps"),
        ] {
            assert_eq!(name_entry(field, &names), expected);
        }
    }
}
