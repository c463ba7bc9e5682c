//! Finds the binding of a request. Bindings are indexed by method and number of segments, so a lookup compares a handful
//! of templates and allocates nothing.

use std::collections::HashMap;

use anyhow::{Result, bail};
use http::Method;

use super::binding::Binding;

/// Paths with more segments than this are only matched by templates with `**`.
const INDEXED: usize = 24;

/// Every binding, ready to be found.
#[derive(Debug)]
pub struct Routes {
    bindings: Vec<Binding>,
    /// Per method and number of segments: positions in `bindings`, the most specific template first.
    index: HashMap<Method, Vec<Vec<usize>>>,
}

/// What a method and a path lead to.
#[derive(Debug)]
pub enum Route<'a> {
    /// This RPC.
    Found(&'a Binding),
    /// The path exists, with these methods only.
    OtherMethods(String),
    /// Nothing.
    Unknown,
}

impl Routes {
    /// Indexes the bindings; refuses two that match the very same requests.
    pub fn new(mut bindings: Vec<Binding>) -> Result<Self> {
        bindings.sort_by_cached_key(|b| (b.template.rank(), b.template.text().to_owned()));
        let mut index: HashMap<Method, Vec<Vec<usize>>> = HashMap::new();
        for (position, binding) in bindings.iter().enumerate() {
            let by_len = index.entry(binding.method.clone()).or_insert_with(|| vec![Vec::new(); INDEXED + 1]);
            let (least, more) = binding.template.length();
            let longest = if more { INDEXED } else { least };
            if longest > INDEXED {
                bail!("{} has more than {INDEXED} segments", binding.template.text());
            }
            by_len[least..=longest].iter_mut().for_each(|list| list.push(position));
        }
        Ok(Self { bindings, index })
    }

    /// Finds the binding for a raw path that is cut at `/`.
    pub fn find(&self, method: &Method, path: &[&str]) -> Route<'_> {
        if let Some(binding) = self.find_for(method, path) {
            return Route::Found(binding);
        }
        let mut allowed: Vec<_> =
            self.index.keys().filter(|other| self.find_for(other, path).is_some()).map(Method::as_str).collect();
        if allowed.is_empty() {
            return Route::Unknown;
        }
        allowed.sort_unstable();
        Route::OtherMethods(allowed.join(", "))
    }

    fn find_for(&self, method: &Method, path: &[&str]) -> Option<&Binding> {
        let candidates = &self.index.get(method)?[path.len().min(INDEXED)];
        candidates.iter().map(|position| &self.bindings[*position]).find(|binding| binding.template.matches(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{proto, server::transport::rest::binding::bindings};

    fn found(method: &str, path: &str) -> String {
        let routes = Routes::new(bindings(proto::pool()).unwrap()).unwrap();
        let path: Vec<_> = path.split('/').collect();
        match routes.find(&method.parse().unwrap(), &path) {
            Route::Found(binding) => binding.rpc.name.to_owned(),
            Route::OtherMethods(allow) => format!("Allow: {allow}"),
            Route::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn finds_the_rpc_of_a_request() {
        let table = [
            ("GET", "api/rest/v1/users/7", "UserService/GetUser"),
            ("GET", "api/rest/v1/users/me", "UserService/GetUserMe"),
            ("GET", "api/rest/v1/workspaces/public", "WorkspaceService/ListPublicWorkspaces"),
            ("GET", "api/rest/v1/workspaces/12", "WorkspaceService/GetWorkspace"),
            ("HEAD", "api/rest/v1/health", "HealthService/GetHealthCheck"),
            ("GET", "api/rest/v1/workbenchs/3", "WorkbenchService/GetWorkbench"),
            ("GET", "api/rest/v1/nothing", "unknown"),
            ("GET", "api/rest/v1/users/", "unknown"),
            ("GET", "api/rest/v1", "unknown"),
            ("PATCH", "api/rest/v1/users/7", "Allow: DELETE, GET"),
            ("OPTIONS", "api/rest/v1/health", "Allow: GET, HEAD"),
        ];
        for (method, path, want) in table {
            assert_eq!(found(method, path), want, "{method} {path}");
        }
    }

    #[test]
    fn the_longest_template_takes_a_file_path() {
        let file = "api/rest/v1/workspaces/1/file/a/b%2Fc";
        let deep = format!("api/rest/v1/workspaces/1/file/{}", "a/".repeat(40));
        assert_eq!(found("GET", file), "WorkspaceFileService/GetWorkspaceFile");
        assert_eq!(found("GET", &deep), "WorkspaceFileService/GetWorkspaceFile");
        assert_eq!(found("POST", &format!("{file}/upload")), "WorkspaceFileService/InitiateWorkspaceFileUpload");
        assert_eq!(
            found("POST", &format!("{file}/upload/u1/complete")),
            "WorkspaceFileService/CompleteWorkspaceFileUpload"
        );
        assert_eq!(found("DELETE", &format!("{file}/upload/u1")), "WorkspaceFileService/AbortWorkspaceFileUpload");
    }
}
