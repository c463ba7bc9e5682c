//! Whether somebody uses a desktop: what its page sends, looked through for keys, pointer and clipboard.
//!
//! An Xpra packet has a head of eight bytes (`P`, flags, compression, index, four of size) and a list, whose first item is
//! the name of its type. The list is bencoded, or rencoded by newer pages; large values go ahead as packets of their own,
//! with an index. Packets follow one another in the data frames of the WebSocket, without regard to where those end.
//!
//! What always holds: only the types of [`COUNTED`] are input, so that a page that is left open is idle, whatever it sends
//! by itself; no more than the head and the first bytes of a packet are kept; what is compressed, encrypted or not
//! understood is no input, and the bytes go on all the same.

use super::frames::Piece;

/// The types of packets that come from a person. Types that are not here are not input.
pub const COUNTED: [&str; 6] =
    ["key-action", "button-action", "pointer-position", "wheel-motion", "clipboard-token", "clipboard-contents"];

const HEAD: usize = 8;
/// The first bytes of a list: enough for the name of any counted type, however it is encoded.
const BEGINNING: usize = 32;

/// Flags of a packet.
mod flag {
    pub const RENCODE: u8 = 0x01;
    pub const CIPHER: u8 = 0x02;
    pub const FLUSH: u8 = 0x08;
    pub const RENCODE_PLUS: u8 = 0x10;
    pub const KNOWN: u8 = RENCODE | CIPHER | 0x04 | FLUSH | RENCODE_PLUS;
}

/// Follows the packets of one page.
#[derive(Debug, Clone, Default)]
pub struct Input(State);

#[derive(Debug, Clone)]
enum State {
    /// So many bytes of a head are there.
    Head { bytes: [u8; HEAD], have: usize },
    /// The beginning of a list is collected; `left` bytes of the packet are still to come.
    List { bytes: [u8; BEGINNING], have: usize, left: usize, rencoded: bool },
    /// The rest of a packet that does not matter.
    Rest { left: usize },
    /// This is not Xpra, or nothing that we can read.
    Quiet,
}

impl Default for State {
    fn default() -> Self {
        Self::Head { bytes: [0; HEAD], have: 0 }
    }
}

impl Input {
    /// Goes on with a piece of the stream, and says whether it completed a packet from a person (as far as its type).
    pub fn look(&mut self, piece: Piece<'_>) -> bool {
        let (mut at, mut seen) = (0, false);
        while at < piece.len() {
            let available = piece.len() - at;
            match &mut self.0 {
                State::Head { bytes, have } => {
                    let count = piece.copy(at, &mut bytes[*have..]);
                    (at, *have) = (at + count, *have + count);
                    if *have == HEAD {
                        self.0 = after_head(*bytes);
                    }
                }
                State::List { bytes, have, left, rencoded } => {
                    let wanted = (BEGINNING - *have).min(*left);
                    let count = piece.copy(at, &mut bytes[*have..*have + wanted]);
                    (at, *have, *left) = (at + count, *have + count, *left - count);
                    if *have == BEGINNING || *left == 0 {
                        seen |= is_counted(&bytes[..*have], *rencoded);
                        self.0 = rest(*left);
                    }
                }
                State::Rest { left } => {
                    let count = available.min(*left);
                    at += count;
                    self.0 = rest(*left - count);
                }
                State::Quiet => return seen,
            }
        }
        seen
    }
}

fn rest(left: usize) -> State {
    if left == 0 { State::default() } else { State::Rest { left } }
}

fn after_head([magic, flags, compression, index, size @ ..]: [u8; HEAD]) -> State {
    let size = u32::from_be_bytes(size) as usize;
    // an encrypted packet is longer than it says
    if magic != b'P' || flags & !flag::KNOWN != 0 || flags & flag::CIPHER != 0 {
        return State::Quiet;
    }
    let readable = flags & !(flag::RENCODE | flag::RENCODE_PLUS | flag::FLUSH) == 0 && compression == 0 && index == 0;
    match readable && size > 0 {
        true => State::List {
            bytes: [0; BEGINNING],
            have: 0,
            left: size,
            rencoded: flags & (flag::RENCODE | flag::RENCODE_PLUS) != 0,
        },
        false => rest(size),
    }
}

fn is_counted(list: &[u8], rencoded: bool) -> bool {
    first_string(list, rencoded).is_some_and(|name| COUNTED.iter().any(|counted| counted.as_bytes() == name))
}

/// The first item of a list, if it is a string that is there as a whole.
fn first_string(list: &[u8], rencoded: bool) -> Option<&[u8]> {
    let (open, items) = list.split_first()?;
    let is_list = if rencoded { matches!(open, 59 | 192..) } else { *open == b'l' };
    if !is_list {
        return None;
    }
    if rencoded && let Some((length @ 128..=191, text)) = items.split_first() {
        return text.get(..usize::from(length - 128));
    }
    let colon = items.iter().take(4).position(|byte| *byte == b':')?;
    let digits = std::str::from_utf8(&items[..colon]).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    items[colon + 1..].get(..digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::frames::{Frames, tests::frame},
        *,
    };

    fn packet(flags: u8, compression: u8, index: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![b'P', flags, compression, index];
        packet.extend((payload.len() as u32).to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn bencoded(name: &str) -> Vec<u8> {
        packet(0, 0, 0, format!("l{}:{name}i7ee", name.len()).as_bytes())
    }

    fn rencoded(name: &str) -> Vec<u8> {
        let mut list = vec![194, 128 + name.len() as u8];
        list.extend(name.as_bytes());
        list.push(7);
        packet(0x10, 0, 0, &list)
    }

    /// How many chunks had input, of a stream that comes in frames, cut into chunks.
    fn seen(wire: &[u8], sizes: &[usize]) -> usize {
        let (mut frames, mut input, mut count, mut rest) = (Frames::default(), Input::default(), 0, wire);
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, more) = rest.split_at(rest.len().min(*size));
            let mut any = false;
            frames.follow(chunk, |piece| any |= input.look(piece));
            count += usize::from(any);
            rest = more;
        }
        count
    }

    fn one(packets: &[u8]) -> bool {
        seen(&frame(2, true, Some([9, 8, 7, 6]), packets), &[usize::MAX]) == 1
    }

    #[test]
    fn only_what_a_person_does_counts() {
        for name in COUNTED {
            assert!(one(&bencoded(name)), "{name}");
            assert!(one(&rencoded(name)), "{name}");
        }
        for name in [
            "hello",
            "ping",
            "ping_echo",
            "damage-sequence",
            "info-request",
            "focus",
            "configure-window",
            "map-window",
            "unmap-window",
            "buffer-refresh",
            "desktop_size",
            "layout-changed",
            "connection-data",
            "logging",
            "sound-control",
            "clipboard-contents-none",
            "clipboard-request",
            "key-action-of-the-future",
            "",
        ] {
            assert!(!one(&bencoded(name)), "{name}");
            assert!(!one(&rencoded(name)), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_input() {
        let key = b"l10:key-actioni7ee";
        for (flags, compression, index, payload) in [
            (0x02, 0, 0, &key[..]),
            (0x04, 0, 0, key),
            (0x20, 0, 0, key),
            (0, 1, 0, key),
            (0, 0x10, 0, key),
            (0, 0, 3, key),
            (0x01, 0, 0, key),
            (0, 0, 0, b"10:key-action"),
            (0, 0, 0, b"l10:key-acti"),
            (0, 0, 0, b"l99999:key-action"),
            (0, 0, 0, b"li7e10:key-actione"),
            (0, 0, 0, b""),
        ] {
            assert!(!one(&packet(flags, compression, index, payload)), "{flags} {compression} {index} {payload:?}");
        }
    }

    #[test]
    fn after_what_does_not_matter_it_goes_on_and_after_what_it_does_not_know_it_is_quiet() {
        let key = bencoded("key-action");
        let large = packet(0, 0, 3, &[7; 100_000]);
        let compressed = packet(0, 0x11, 0, &[7; 300]);
        assert!(one(&[large, compressed, bencoded("ping"), packet(0, 0, 0, b""), key.clone()].concat()));
        assert!(!one(&[packet(0x02, 0, 0, b"secret"), key.clone()].concat()));
        assert!(!one(&[b"GET / HTTP/1.1\r\n", &key[..]].concat()));
    }

    /// Names, each with how it is encoded, as frames of their own size.
    fn names() -> impl Strategy<Value = Vec<(String, bool, usize)>> {
        let name = prop_oneof![
            prop::sample::select(&COUNTED[..]).prop_map(str::to_owned),
            prop::sample::select(&["ping", "focus", "damage-sequence", "configure-window"][..]).prop_map(str::to_owned),
            "[a-z-]{0,60}",
        ];
        prop::collection::vec((name, any::<bool>(), 1usize..64), 1..12)
    }

    proptest! {
        #[test]
        fn chunks_and_frames_make_no_difference(all in names(), mask in any::<[u8; 4]>(), cut in 1usize..80) {
            let packets: Vec<u8> =
                all.iter().flat_map(|(name, r, _)| if *r { rencoded(name) } else { bencoded(name) }).collect();
            let wanted = all.iter().any(|(name, ..)| COUNTED.contains(&name.as_str()));
            let wire: Vec<u8> = packets.chunks(all[0].2).flat_map(|part| frame(2, true, Some(mask), part)).collect();
            prop_assert_eq!(seen(&wire, &[usize::MAX]) > 0, wanted);
            prop_assert_eq!(seen(&wire, &[1]) > 0, wanted);
            prop_assert_eq!(seen(&wire, &[cut, 1, 3]) > 0, wanted);
        }

        #[test]
        fn every_boundary(at in 0usize..200) {
            let packets = [bencoded("ping"), rencoded("focus"), bencoded("wheel-motion"), bencoded("ping_echo")].concat();
            let wire = frame(2, true, Some([1, 2, 3, 4]), &packets);
            let at = at.clamp(1, wire.len() - 1);
            prop_assert_eq!(seen(&wire, &[at, usize::MAX]), 1);
        }

        #[test]
        fn nothing_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            seen(&frame(2, true, None, &bytes), &[7]);
            seen(&bytes, &[5]);
        }
    }
}
