//! `docs/openapi.json` is what the server serves: a change of the API shows in review.

use std::{fs, path::Path};

use chorus::{proto, server::transport::openapi};

#[test]
fn the_api_description_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let document = openapi::document(proto::pool(), env!("CARGO_PKG_VERSION")).unwrap();
    let made = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &made).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is stale; write it with UPDATE_EXPECT=1 cargo test the_api_description");
}
