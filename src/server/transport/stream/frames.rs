//! Where the frames of a WebSocket begin and end (RFC 6455, section 5), without keeping any.
//!
//! [`Frames`] follows one direction of a connection in chunks of any size and shows the payload of data frames as
//! [`Piece`]s. What always holds: it keeps no more than the head of a frame; how the bytes are cut into chunks makes no
//! difference; once it meets what it does not understand, it shows nothing more and says nothing about boundaries.

/// The longest head: two bytes, eight of length, four of mask.
const HEAD: usize = 14;
/// The longest payload of a control frame.
const MOST_CONTROL: u64 = 125;

/// Follows one direction of a WebSocket.
#[derive(Debug, Clone, Default)]
pub struct Frames(State);

#[derive(Debug, Clone)]
enum State {
    /// So many bytes of a head are there.
    Head { bytes: [u8; HEAD], have: usize },
    /// Inside a payload.
    Payload { left: u64, mask: Option<[u8; 4]>, at: usize, data: bool },
    /// This is no WebSocket that we understand.
    Lost,
}

impl Default for State {
    fn default() -> Self {
        Self::Head { bytes: [0; HEAD], have: 0 }
    }
}

/// A part of a payload, still masked.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    bytes: &'a [u8],
    mask: Option<[u8; 4]>,
    /// Where in the mask the first byte is.
    at: usize,
}

impl Piece<'_> {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Copies bytes from this place on, without the mask, and says how many there were.
    pub fn copy(&self, from: usize, to: &mut [u8]) -> usize {
        let bytes = self.bytes.get(from..).unwrap_or_default();
        let count = bytes.len().min(to.len());
        for (i, (to, byte)) in to.iter_mut().zip(bytes).enumerate() {
            *to = byte ^ self.mask.map_or(0, |mask| mask[(self.at + from + i) % 4]);
        }
        count
    }
}

impl Frames {
    /// Goes on with these bytes and shows what they have of data frames.
    pub fn follow(&mut self, mut chunk: &[u8], mut show: impl FnMut(Piece<'_>)) {
        while !chunk.is_empty() {
            match &mut self.0 {
                State::Head { bytes, have } => {
                    bytes[*have] = chunk[0];
                    *have += 1;
                    chunk = &chunk[1..];
                    if let Some(next) = after_head(&bytes[..*have]) {
                        self.0 = next;
                    }
                }
                State::Payload { left, mask, at, data } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len());
                    let (bytes, rest) = chunk.split_at(count);
                    if *data {
                        show(Piece { bytes, mask: *mask, at: *at });
                    }
                    chunk = rest;
                    *left -= count as u64;
                    *at = (*at + count) % 4;
                    if *left == 0 {
                        self.0 = State::default();
                    }
                }
                State::Lost => return,
            }
        }
    }

    /// Whether a frame may be put in here.
    pub fn at_boundary(&self) -> bool {
        matches!(self.0, State::Head { have: 0, .. })
    }
}

/// What comes after a head, once it is complete.
fn after_head(head: &[u8]) -> Option<State> {
    let [first, second, ..] = *head else { return None };
    let (masked, short) = (second & 0x80 != 0, second & 0x7f);
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if head.len() < 2 + extended + if masked { 4 } else { 0 } {
        return None;
    }
    let (length, mask) = head[2..].split_at(extended);
    let length = match extended {
        0 => u64::from(short),
        _ => length.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)),
    };
    let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
    let is_control = opcode & 0x08 != 0;
    // reserved bits mean extensions, which the proxy does not let anybody negotiate
    let is_sane = first & 0x70 == 0
        && matches!(opcode, 0..=2 | 8..=10)
        && length <= i64::MAX as u64
        && (!is_control || is_final && length <= MOST_CONTROL);
    Some(match (is_sane, length) {
        (false, _) => State::Lost,
        (true, 0) => State::default(),
        (true, left) => State::Payload { left, mask: mask.try_into().ok(), at: 0, data: !is_control },
    })
}

/// A close frame of a server (sections 5.5.1 and 7.4). The reason is a short word.
pub fn close(code: u16, reason: &'static str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(MOST_CONTROL as usize - 2)];
    let mut frame = vec![0x88, (reason.len() + 2) as u8];
    frame.extend(code.to_be_bytes());
    frame.extend(reason);
    frame
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as clients send it, or as servers do.
    pub fn frame(opcode: u8, is_final: bool, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let masked = if mask.is_some() { 0x80 } else { 0 };
        let mut frame = vec![opcode | if is_final { 0x80 } else { 0 }];
        match payload.len() {
            short @ 0..=125 => frame.push(masked | short as u8),
            middle @ 126..=0xffff => {
                frame.push(masked | 126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(masked | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(mask.into_iter().flatten());
        let mask = mask.unwrap_or_default();
        frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
        frame
    }

    fn shown(frames: &mut Frames, chunk: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        frames.follow(chunk, |piece| {
            let mut bytes = vec![0; piece.len()];
            assert_eq!(piece.copy(0, &mut bytes), piece.len());
            all.extend(bytes);
        });
        all
    }

    #[test]
    fn control_frames_may_come_between_the_parts_of_a_message() {
        let mask = Some([1, 2, 3, 4]);
        let wire = [
            frame(2, false, mask, b"half"),
            frame(9, true, mask, b"ping"),
            frame(0, true, mask, b" and half"),
            frame(8, true, mask, &[3, 232]),
        ];
        let mut frames = Frames::default();
        assert_eq!(shown(&mut frames, &wire.concat()), b"half and half");
        assert!(frames.at_boundary());
    }

    #[test]
    fn what_is_not_understood_is_the_end() {
        for bad in [
            frame(0x42, true, None, b"compressed"),
            frame(3, true, None, b"reserved"),
            frame(9, false, None, b"a ping in parts"),
            frame(10, true, None, &[0; 126]),
            vec![0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let mut frames = Frames::default();
            assert_eq!(shown(&mut frames, &[&bad[..], &frame(2, true, None, b"more")].concat()), b"");
            assert!(!frames.at_boundary());
        }
    }

    #[test]
    fn closes() {
        assert_eq!(close(1001, "BYE"), frame(8, true, None, b"\x03\xe9BYE"));
    }

    prop_compose! {
        fn any_frame()(
            opcode in prop::sample::select(vec![0u8, 1, 2, 9]),
            mask in prop::option::of(any::<[u8; 4]>()),
            payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..140), prop::collection::vec(any::<u8>(), 65_530..65_540)],
        ) -> (bool, Vec<u8>, Vec<u8>) {
            let payload = if opcode == 9 { payload[..payload.len().min(125)].to_vec() } else { payload };
            (opcode != 9, payload.clone(), frame(opcode, true, mask, &payload))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn chunks_make_no_difference(all in prop::collection::vec(any_frame(), 1..6), sizes in prop::collection::vec(1usize..5000, 1..40)) {
            let wire: Vec<u8> = all.iter().flat_map(|(_, _, wire)| wire.clone()).collect();
            let want: Vec<u8> = all.iter().filter(|(data, ..)| *data).flat_map(|(_, payload, _)| payload.clone()).collect();
            let (mut frames, mut got, mut rest, mut sizes) = (Frames::default(), Vec::new(), &wire[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (chunk, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                got.extend(shown(&mut frames, chunk));
                rest = more;
            }
            prop_assert!(frames.at_boundary());
            prop_assert!(got == want);
        }

        #[test]
        fn nothing_is_too_strange(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let mut frames = Frames::default();
            for chunk in chunks {
                shown(&mut frames, &chunk);
            }
        }
    }
}
