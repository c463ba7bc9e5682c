//! `docs/openapi.json` is what the server serves: a change of the API shows in review.

use chorus::{proto, server::transport::openapi};

use crate::support::golden::golden;

#[test]
fn the_api_description_is_current() {
    let document = openapi::document(proto::pool(), env!("CARGO_PKG_VERSION")).unwrap();
    golden("docs/openapi.json", &(serde_json::to_string_pretty(&document).unwrap() + "\n"));
}
