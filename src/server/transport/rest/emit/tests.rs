use proptest::{collection::vec, prelude::*};
use prost::Message as _;
use prost_types::Timestamp;

use super::*;
use crate::{
    proto::{self, v1},
    server::transport::rest::emitted::Emitted,
};

/// Both ways of writing must agree.
fn check(name: &str, encoded: &[u8]) {
    let descriptor = proto::pool().get_message_by_name(&format!("chorus.v1.{name}")).unwrap();
    let message = DynamicMessage::decode(descriptor.clone(), encoded).unwrap();
    let slow = serde_json::to_string(&Emitted(&message)).unwrap();
    let fast = String::from_utf8(to_json(&Layout::new(&descriptor), encoded).unwrap()).unwrap();
    assert_eq!(fast, slow);
}

#[test]
fn empty_messages_of_the_whole_contract() {
    for descriptor in proto::pool().all_messages().filter(|m| m.package_name() == "chorus.v1" && !m.is_map_entry()) {
        check(descriptor.full_name().strip_prefix("chorus.v1.").unwrap(), &[]);
    }
}

#[test]
fn every_shape() {
    let request = v1::ApprovalRequest {
        id: u64::MAX,
        r#type: 2,
        status: 99,
        title: "a \"quote\"\n\u{1}é".into(),
        approver_ids_by_step: [
            ("z".into(), v1::ApproverIds { ids: vec![1, 300, 0] }),
            ("a".into(), Default::default()),
        ]
        .into(),
        approved_at: Some(Timestamp { seconds: 1_700_000_000, nanos: 120_000_000 }),
        created_at: Some(Timestamp { seconds: -1, nanos: 1 }),
        auto_approved: true,
        details: Some(v1::approval_request::Details::DataExtraction(v1::DataExtractionDetails {
            source_workspace_id: 3,
            files: vec![Default::default(), v1::ApprovalRequestFile { size: 7, ..Default::default() }],
        })),
        ..Default::default()
    };
    check("ApprovalRequest", &request.encode_to_vec());
    check(
        "GetNotificationsRequest",
        &v1::GetNotificationsRequest { is_read: Some(true), ..Default::default() }.encode_to_vec(),
    );
    let file = v1::WorkspaceFile { content: Some(vec![0, 255, 3]), ..Default::default() };
    check("WorkspaceFile", &file.encode_to_vec());
}

#[test]
fn what_is_no_message_is_an_error() {
    let descriptor = proto::pool().get_message_by_name("chorus.v1.User").unwrap();
    for bytes in [&[0x08][..], &[0x12, 5, 1], &[0x0b], &[0x12, 1, 0xff], &[0x09, 1]] {
        assert!(to_json(&Layout::new(&descriptor), bytes).is_err(), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn users(id: u64, name in ".*", active: bool, gids in vec(any::<u64>(), 0..4), seconds in 0..4_000_000_000_i64, nanos in 0..1_000_000_000) {
        let role = v1::Role { id, name: name.clone(), context: [(name.clone(), name.clone())].into() };
        let user = v1::User {
            id, first_name: name, totp_enabled: active, gids,
            created_at: Some(Timestamp { seconds, nanos }),
            roles_with_context: vec![role; 2],
            ..Default::default()
        };
        let reply = v1::ListUsersReply { result: Some(v1::ListUsersResult { users: vec![user; 2] }), pagination: None };
        check("ListUsersReply", &reply.encode_to_vec());
    }

    #[test]
    fn any_bytes_end_well(bytes in vec(any::<u8>(), 0..64)) {
        let descriptor = proto::pool().get_message_by_name("chorus.v1.ListUsersReply").unwrap();
        let _ = to_json(&Layout::new(&descriptor), &bytes);
    }
}
