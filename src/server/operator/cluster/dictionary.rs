//! Text that resembles other text, kept as the differences.
//!
//! Objects of one kind are alike to a great part: field names, defaults, probes. So the first of them become a sample, and
//! each is kept as a list of tokens: take these bytes of the sample, or these of your own. The sample only grows, so what
//! was packed before can always be unpacked.

use std::{collections::HashMap, fmt};

/// The shortest piece of the sample that is worth a token.
const PIECE: usize = 8;
/// The longest sample.
const SAMPLE: usize = 32 << 10;
/// A text that does not shrink to one part in so many teaches the sample something new.
const UNLIKE: usize = 4;

/// A sample, and where to find pieces in it.
#[derive(Clone, Default)]
pub struct Dictionary {
    sample: Vec<u8>,
    places: HashMap<[u8; PIECE], usize>,
}

impl fmt::Debug for Dictionary {
    /// Only its size: it may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a sample of {} bytes", self.sample.len())
    }
}

impl Dictionary {
    /// Packs a text. Learns from it if it is unlike what is known.
    pub fn pack(&mut self, text: &str) -> Box<[u8]> {
        let packed = self.tokens(text.as_bytes());
        if packed.len() < text.len() / UNLIKE || self.sample.len() + text.len() > SAMPLE {
            return packed.into();
        }
        self.learn(text.as_bytes());
        self.tokens(text.as_bytes()).into()
    }

    /// Unpacks what was packed with this dictionary.
    pub fn unpack(&self, packed: &[u8]) -> String {
        let mut bytes = packed.iter().copied();
        let mut text = Vec::with_capacity(packed.len() * UNLIKE);
        while let Some(token) = number(&mut bytes) {
            let length = token >> 1;
            if token & 1 == 1 {
                let from = number(&mut bytes).unwrap_or_default();
                let piece = from.checked_add(length).and_then(|to| self.sample.get(from..to));
                text.extend_from_slice(piece.unwrap_or_default());
            } else {
                text.extend(bytes.by_ref().take(length));
            }
        }
        String::from_utf8(text).unwrap_or_default()
    }

    fn learn(&mut self, text: &[u8]) {
        let from = self.sample.len().saturating_sub(PIECE - 1);
        self.sample.extend_from_slice(text);
        for (at, piece) in self.sample.windows(PIECE).enumerate().skip(from) {
            if let Ok(piece) = piece.try_into() {
                self.places.entry(piece).or_insert(at);
            }
        }
    }

    fn tokens(&self, text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let (mut own, mut rest) = (0, text);
        while !rest.is_empty() {
            let found = rest.first_chunk().and_then(|piece| self.places.get(piece));
            let Some(&at) = found else {
                (own, rest) = (own + 1, rest.get(1..).unwrap_or_default());
                continue;
            };
            let sample = self.sample.get(at..).unwrap_or_default();
            let length = rest.iter().zip(sample).take_while(|(one, other)| one == other).count();
            literal(&mut packed, text, rest, own);
            write(&mut packed, length << 1 | 1);
            write(&mut packed, at);
            (own, rest) = (0, rest.get(length..).unwrap_or_default());
        }
        literal(&mut packed, text, rest, own);
        packed
    }
}

/// The last bytes before the rest.
fn literal(packed: &mut Vec<u8>, text: &[u8], rest: &[u8], length: usize) {
    if length > 0 {
        write(packed, length << 1);
        let end = text.len() - rest.len();
        packed.extend_from_slice(text.get(end - length..end).unwrap_or_default());
    }
}

/// Seven bits a byte, the lowest first; all but the last have the eighth.
fn write(packed: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        packed.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}

fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let (mut number, mut shift) = (0_usize, 0);
    loop {
        let byte = bytes.next()?;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_alike_becomes_small() {
        let mut dictionary = Dictionary::default();
        let text = |number: usize| {
            format!(
                r#"{{"name":"workbench{number}","spec":{{"containers":[{{"name":"xpra-server","ports":[8080]}}]}}}}"#
            )
        };
        let first = dictionary.pack(&text(1));
        let second = dictionary.pack(&text(23_456));
        assert!(second.len() < text(2).len() / UNLIKE, "{}", second.len());
        assert_eq!(dictionary.unpack(&first), text(1));
        assert_eq!(dictionary.unpack(&second), text(23_456));
        assert!(!format!("{dictionary:?}").contains("xpra"));
    }

    proptest! {
        #[test]
        fn every_text_comes_back(texts in prop::collection::vec("(alpha|beta|gamma delta|[^a]|é{0,300}|.{0,40}){0,30}", 1..12)) {
            let mut dictionary = Dictionary::default();
            let packed: Vec<_> = texts.iter().map(|text| dictionary.pack(text)).collect();
            for (text, packed) in texts.iter().zip(&packed) {
                prop_assert_eq!(text, &dictionary.unpack(packed));
            }
        }

        #[test]
        fn nonsense_does_no_harm(packed in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut dictionary = Dictionary::default();
            dictionary.pack("something to take from");
            let _ = dictionary.unpack(&packed);
        }
    }
}
