//! The CustomResourceDefinitions that the API server is told, made from the Rust types.
//!
//! The types and their attributes say nearly everything; `tidy` takes out what the derivation adds and the API must not
//! have: `nullable`, titles, formats of integers (but of those that clients know), and what is said of `spec` as a whole.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{Workbench, Workspace};

/// The definitions of Workbench and Workspace.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [Workbench::crd(), Workspace::crd()].into_iter().map(tidied).collect()
}

fn tidied(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for schema in crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()) {
        let Some(root) = schema.open_api_v3_schema.as_mut() else { continue };
        // An object without a spec is stored, and read as the empty one.
        root.required = None;
        for property in root.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
            property.default = None;
        }
        tidy("", root);
    }
    crd
}

/// Applies to a schema and everything below it. `name` is the property it is the schema of.
fn tidy(name: &str, schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if schema.x_kubernetes_int_or_string == Some(true) {
        // The derivation takes the types out of the alternatives; the API server wants them there.
        schema.any_of = Some(["integer", "string"].map(of_type).into());
    }
    if schema.type_.as_deref() == Some("integer") && !matches!(name, "observedGeneration" | "restartCount") {
        schema.format = None;
    }
    for (name, property) in schema.properties.iter_mut().flatten() {
        tidy(name, property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy("", items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy("", values);
    }
}

fn of_type(name: &str) -> JSONSchemaProps {
    JSONSchemaProps { type_: Some(name.to_owned()), ..JSONSchemaProps::default() }
}

#[cfg(test)]
mod tests;
