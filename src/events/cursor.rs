//! Cursors: places in the feed, as text that clients return.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::kind::ObjectKind;
use crate::store::{ObjectPlace, Position, Selection};

/// The first byte of a cursor: its format.
const FORMAT: u8 = 1;

/// A place in the feed of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The generation in which it was made.
    pub generation: i64,
    /// The reader: its partner, and the kinds of objects that it can see.
    pub reader: ReaderId,
    /// The place: all events up to it have been read.
    pub position: Position,
    /// The place of the last object, if the reader has not read all objects yet.
    pub snapshot: Option<(ObjectKind, ObjectPlace)>,
}

/// Identifies a partner, and the kinds of objects that it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderId([u8; 8]);

impl ReaderId {
    /// The id of that partner with that selection.
    pub fn of(partner_sid: Uuid, selection: &Selection) -> Self {
        let Selection { own, descendants } = selection;
        let text = format!("{partner_sid} {} {}", own.join(","), descendants.join(","));
        let mut id = [0; 8];
        id.copy_from_slice(&Sha256::digest(text)[..8]);
        Self(id)
    }
}

impl Cursor {
    /// Returns the text.
    pub fn encode(&self) -> String {
        let Self { generation, reader, position, snapshot } = self;
        let mut bytes = vec![FORMAT];
        bytes.extend(generation.to_be_bytes());
        bytes.extend(reader.0);
        bytes.extend(position.epoch.to_be_bytes());
        bytes.extend(position.sid.as_bytes());
        bytes.extend(position.version.to_be_bytes());
        if let Some((kind, place)) = snapshot {
            bytes.push(*kind as u8);
            bytes.extend(place.partner_sid.as_bytes());
            bytes.extend(place.ordinal.to_be_bytes());
        }
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text of a cursor. `None` if it is none.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut bytes = Bytes(bytes.strip_prefix(&[FORMAT])?);
        let cursor = Self {
            generation: bytes.number()?,
            reader: ReaderId(bytes.take()?),
            position: Position {
                epoch: bytes.number()?,
                sid: bytes.sid()?,
                version: bytes.number()?,
            },
            snapshot: match bytes.0 {
                [] => None,
                _ => Some(bytes.object_place()?),
            },
        };
        bytes.0.is_empty().then_some(cursor)
    }
}

/// The bytes of a cursor that are not read yet.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn number(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn sid(&mut self) -> Option<Uuid> {
        self.take().map(Uuid::from_bytes)
    }

    fn object_place(&mut self) -> Option<(ObjectKind, ObjectPlace)> {
        let [kind] = self.take()?;
        let kind = *ObjectKind::ALL.get(usize::from(kind))?;
        Some((kind, ObjectPlace { partner_sid: self.sid()?, ordinal: self.number()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let selection = Selection { own: vec!["did"], descendants: Vec::new() };
        let position = Position { epoch: 1 << 48 | 7, sid: Uuid::from_u128(8), version: 9 };
        let reader = ReaderId::of(Uuid::from_u128(1), &selection);
        let place = ObjectPlace { partner_sid: Uuid::from_u128(2), ordinal: -3 };
        for snapshot in [None, Some((ObjectKind::ShortCode, place))] {
            let cursor = Cursor { generation: 5, reader, position, snapshot };
            let text = cursor.encode();
            assert_eq!(Cursor::decode(&text), Some(cursor));
            for end in 0..text.len() {
                let cut = &text[..end];
                assert!(Cursor::decode(cut).is_none_or(|cursor| cursor.snapshot.is_none()));
            }
        }
        for text in ["", "AQ", "not base64!", "Ag"] {
            assert_eq!(Cursor::decode(text), None, "{text}");
        }
    }

    #[test]
    fn readers_differ_by_partner_and_kinds() {
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let own = Selection { own: vec!["did", "partner"], descendants: Vec::new() };
        let tree = Selection { descendants: vec!["did"], ..own.clone() };
        let ids = [ReaderId::of(one, &own), ReaderId::of(one, &tree), ReaderId::of(other, &own)];
        assert!(ids[0] != ids[1] && ids[0] != ids[2]);
    }
}
