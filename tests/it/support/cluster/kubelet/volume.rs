//! Volumes and claims: a claim that names a volume which is free, or kept for it, gets it.

use serde_json::{Value, json};

use super::{super::store::Key, Step};

impl Step<'_> {
    pub(super) fn volume(&self, object: &Value) {
        match self.key.resource().kind {
            "PersistentVolume" => self.persistent_volume(object),
            _ => self.claim(object),
        }
    }

    fn claim(&self, claim: &Value) {
        let volume = claim["spec"]["volumeName"].as_str().unwrap_or_default();
        let key = Key::new(super::super::by_kind("PersistentVolume"), "", volume);
        let Some(volume) = self.get(&key) else {
            let phase = if claim["status"]["phase"] == "Bound" { "Lost" } else { "Pending" };
            return self.set_status(claim, json!({ "phase": phase }));
        };
        let holder = &volume.value["spec"]["claimRef"];
        let theirs = |field: &str| holder.get(field).is_none_or(|value| *value == claim["metadata"][field]);
        if !holder.is_object() || (holder["name"] == claim["metadata"]["name"] && theirs("namespace") && theirs("uid"))
        {
            let step = Step { shared: self.shared, key: &key, now: self.now };
            if holder.get("uid").is_none() {
                let mut new = volume.value.clone();
                new["spec"]["claimRef"] = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim["metadata"]["namespace"],
                    "name": claim["metadata"]["name"], "uid": claim["metadata"]["uid"] });
                step.replace("", new);
            }
            let capacity = &volume.value["spec"]["capacity"];
            self.set_status(
                claim,
                json!({ "phase": "Bound", "accessModes": volume.value["spec"]["accessModes"], "capacity": capacity }),
            );
        } else {
            self.set_status(claim, json!({ "phase": "Pending" }));
        }
    }

    fn persistent_volume(&self, volume: &Value) {
        let holder = &volume["spec"]["claimRef"];
        let text = |field: &str| holder[field].as_str().unwrap_or_default();
        let key = Key::new(super::super::by_kind("PersistentVolumeClaim"), text("namespace"), text("name"));
        let claim = self.get(&key);
        let held = claim
            .as_ref()
            .is_some_and(|claim| holder.get("uid").is_none_or(|uid| *uid == claim.value["metadata"]["uid"]));
        let phase = match (holder.get("uid").is_some(), held) {
            (true, true) => "Bound",
            (true, false) => "Released",
            (false, _) => "Available",
        };
        self.set_status(volume, json!({ "phase": phase }));
        if let Some(claim) = claim
            && claim.value["status"]["phase"] != "Bound"
        {
            Step { shared: self.shared, key: &key, now: self.now }.claim(&claim.value);
        }
    }
}
