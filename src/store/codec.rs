//! Bodies, kept losslessly and compressed with a trained dictionary per resource type.
//!
//! The dictionaries are shipped (`dictionary/README.md` tells how they were made): trained on the synthetic population and never on a
//! site's own bodies, since a dictionary holds fragments of what it was trained on. Each is stored beside the bodies under an id made
//! from its content, and never deleted, so that a body can be read by any later version.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use diesel::prelude::*;
use domain::model::ResourceType;

use super::connection::{Conn, on_backend};
use super::error::StoreError;
use super::schema::dictionary;

/// zstd's fastest level: with a dictionary the next ones gain 3 % for 12 % more time.
const LEVEL: i32 = 1;
/// No body is larger than a page may be.
const LARGEST: usize = 256 << 20;

fn shipped(kind: ResourceType) -> &'static [u8] {
    match kind {
        ResourceType::Patient => include_bytes!("dictionary/Patient.zdict"),
        ResourceType::Appointment => include_bytes!("dictionary/Appointment.zdict"),
        // The supporting types share with a care plan what makes a dictionary worth it: the head, references, and codes of the same systems.
        _ => include_bytes!("dictionary/CarePlan.zdict"),
    }
}

fn id_of(bytes: &[u8]) -> i64 {
    let hash = blake3::hash(bytes);
    let mut low = [0; 8];
    low.copy_from_slice(hash.as_bytes().first_chunk::<8>().unwrap_or(&[0; 8]));
    // Positive, so that it reads well in a query.
    i64::from_le_bytes(low) & i64::MAX
}

/// A compressed body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The bytes to store.
    pub bytes: Vec<u8>,
    /// The dictionary they were made with.
    pub dictionary: Option<i64>,
}

/// Compresses and decompresses bodies.
pub struct Codec {
    current: HashMap<ResourceType, i64>,
    dictionaries: HashMap<i64, Vec<u8>>,
}

thread_local! {
    // A zstd context is some 100 KB and loading a dictionary costs more than compressing a body, so each thread keeps its own.
    static COMPRESSORS: RefCell<HashMap<i64, zstd::bulk::Compressor<'static>>> = RefCell::new(HashMap::new());
}

impl Codec {
    /// Reads the stored dictionaries and adds the shipped ones.
    pub(super) fn load(conn: &mut Conn) -> Result<Self, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> = on_backend!(conn, c => dictionary::table.select((dictionary::id, dictionary::bytes)).load(c))?;
        let mut dictionaries: HashMap<_, _> = rows.into_iter().collect();
        let mut current = HashMap::new();
        for kind in ResourceType::ALL {
            let bytes = shipped(kind);
            let id = id_of(bytes);
            if let Entry::Vacant(free) = dictionaries.entry(id) {
                let row = (dictionary::id.eq(id), dictionary::rtype.eq(kind.as_str()), dictionary::bytes.eq(bytes));
                on_backend!(conn, c => diesel::insert_into(dictionary::table).values(row).on_conflict_do_nothing().execute(c))?;
                free.insert(bytes.to_vec());
            }
            current.insert(kind, id);
        }
        Ok(Self { current, dictionaries })
    }

    /// Compresses a body; without a dictionary where its type has none.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where zstd refuses, which it does only for want of memory.
    pub fn pack(&self, kind: Option<ResourceType>, body: &[u8]) -> Result<Packed, StoreError> {
        let id = kind.and_then(|k| self.current.get(&k).copied());
        COMPRESSORS.with_borrow_mut(|all| {
            let compressor = match all.entry(id.unwrap_or(-1)) {
                Entry::Occupied(kept) => kept.into_mut(),
                Entry::Vacant(free) => {
                    let dictionary = id.and_then(|id| self.dictionaries.get(&id)).map_or(&[][..], Vec::as_slice);
                    free.insert(
                        zstd::bulk::Compressor::with_dictionary(LEVEL, dictionary)
                            .map_err(|_| StoreError::Damaged("no memory to compress"))?,
                    )
                }
            };
            let bytes = compressor.compress(body).map_err(|_| StoreError::Damaged("a body could not be compressed"))?;
            Ok(Packed { bytes, dictionary: id })
        })
    }

    /// Reads a body back, byte for byte as it was received.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the bytes or their dictionary are not what was stored.
    pub fn unpack(&self, bytes: &[u8], dictionary: Option<i64>) -> Result<Vec<u8>, StoreError> {
        let known = match dictionary {
            None => &[][..],
            Some(id) => self.dictionaries.get(&id).ok_or(StoreError::Damaged("a body's dictionary is missing"))?,
        };
        let size = zstd::bulk::Decompressor::upper_bound(bytes).unwrap_or(LARGEST).min(LARGEST);
        zstd::bulk::Decompressor::with_dictionary(known)
            .and_then(|mut d| d.decompress(bytes, size))
            .map_err(|_| StoreError::Damaged("a body cannot be decompressed"))
    }
}

/// The hash that tells whether a body or facts changed: 16 bytes of BLAKE3.
#[must_use]
pub fn content_hash(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(blake3::hash(bytes).as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]));
    short
}
