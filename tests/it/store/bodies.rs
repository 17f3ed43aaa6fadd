//! Bodies come back byte for byte.

use domain::model::ResourceType;
use fhir_engage::store::codec::Packed;
use fhir_engage::store::{StoreError, resources};

use super::fixtures::{commit, ehr, incoming, read};
use crate::support::on_both;

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(length)
    .collect()
}

on_both! {
    fn any_bytes_survive_the_codec(db) {
        let store = db.store();
        let codec = store.codec();
        let bodies: [Vec<u8>; 7] =
            [vec![], vec![0], b"{\"resourceType\":\"Patient\"}".to_vec(), vec![0; 100_000], noise(70_000), noise(10 << 20), vec![b'x'; 20 << 20]];
        for kind in [None, Some(ResourceType::Patient), Some(ResourceType::Appointment), Some(ResourceType::CarePlan)] {
            for body in &bodies {
                let Packed { bytes, dictionary } = codec.pack(kind, body).unwrap();
                assert!(codec.unpack(&bytes, dictionary).unwrap() == *body, "{kind:?}, {} bytes", body.len());
            }
        }
    }

    fn damage_is_an_error(db) {
        let store = db.store();
        let packed = store.codec().pack(Some(ResourceType::Patient), &noise(1000)).unwrap();
        assert!(matches!(store.codec().unpack(&packed.bytes[..500], packed.dictionary), Err(StoreError::Damaged(_))));
        assert!(matches!(store.codec().unpack(b"not zstd", None), Err(StoreError::Damaged(_))));
        assert!(matches!(store.codec().unpack(&packed.bytes, Some(1)), Err(StoreError::Damaged(_))));
    }

    fn a_large_body_goes_through_the_database_and_another_store_reads_it(db) {
        let store = db.store();
        let body: String = noise(10 << 20).iter().map(|b| char::from(b' ' + b % 90)).collect();
        commit(&store, ResourceType::Patient, vec![incoming(&store, ResourceType::Patient, "big", &body, "f", &["big"])]);
        let other = db.store();
        let stored = read(&other, |conn| resources::get(conn, &ehr(), ResourceType::Patient, "big")).unwrap();
        assert!(stored.body(other.codec()).unwrap() == body.as_bytes());
    }
}
