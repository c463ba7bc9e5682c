//! Licences of apps: one Secret a workspace says which variable an app's licence goes into.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use serde::Deserialize;

use super::server::variable;

/// The licences of a workspace, by what an app's image calls itself.
#[derive(Debug, Default, Deserialize)]
pub struct Licences {
    #[serde(default)]
    licenses: BTreeMap<String, Licence>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Licence {
    #[serde(rename = "type")]
    kind: String,
    env_var: String,
    secret_key: String,
    mount_path: String,
}

impl Licences {
    /// What the key `config.yaml` of the Secret says; the error tells nothing of it.
    ///
    /// # Errors
    ///
    /// When it is not what it should be.
    pub fn read(config: &str) -> Result<Self, &'static str> {
        serde_saphyr::from_str(config)
            .map_err(|_| "config.yaml of the licence Secret cannot be read; apps start without licences.")
    }

    /// The variable of an app, if it has a licence.
    pub fn variable(&self, base: &str, secret: &str) -> Option<EnvVar> {
        let licence = self.licenses.get(base).filter(|licence| is_variable_name(&licence.env_var))?;
        match licence.kind.as_str() {
            "platform-file" | "license-server" => Some(EnvVar {
                name: licence.env_var.clone(),
                value: None,
                value_from: Some(EnvVarSource {
                    secret_key_ref: Some(SecretKeySelector {
                        name: secret.to_owned(),
                        key: Some(&licence.secret_key).filter(|key| !key.is_empty())?.clone(),
                        optional: Some(true),
                    }),
                    ..EnvVarSource::default()
                }),
            }),
            "user-provided" if !licence.mount_path.is_empty() => Some(variable(&licence.env_var, &licence.mount_path)),
            _ => None,
        }
    }
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
licenses:
  matlab: { type: license-server, envVar: MLM_LICENSE_FILE, secretKey: matlab }
  stata: { type: platform-file, envVar: STATA_LICENSE, secretKey: stata, mountPath: /ignored }
  sas: { type: user-provided, envVar: SAS_LICENSE, mountPath: /mnt/workspace-archive/sas.lic }
  nameless: { type: platform-file, secretKey: stata }
  keyless: { type: platform-file, envVar: X }
  pathless: { type: user-provided, envVar: X }
  bad: { type: platform-file, envVar: 'A=B', secretKey: x }
  strange: { type: dongle, envVar: X, secretKey: x }
";

    #[test]
    fn one_variable_an_app() {
        let licences = Licences::read(CONFIG).unwrap();
        for (base, expected) in [("matlab", ("MLM_LICENSE_FILE", "matlab")), ("stata", ("STATA_LICENSE", "stata"))] {
            let variable = licences.variable(base, "licences").unwrap();
            let key = variable.value_from.unwrap().secret_key_ref.unwrap();
            assert_eq!((variable.name.as_str(), key.key.as_str()), expected);
            assert_eq!((key.name.as_str(), key.optional), ("licences", Some(true)));
        }
        let literal = licences.variable("sas", "licences").unwrap();
        assert_eq!(literal.value.as_deref(), Some("/mnt/workspace-archive/sas.lic"));
        for base in ["nameless", "keyless", "pathless", "bad", "strange", "unknown"] {
            assert_eq!(licences.variable(base, "licences"), None, "{base}");
        }
    }

    #[test]
    fn what_cannot_be_read_stays_secret() {
        let error = Licences::read("licenses: [hush").unwrap_err();
        assert!(!error.contains("hush"));
        assert!(Licences::read("{}").unwrap().licenses.is_empty());
    }
}
