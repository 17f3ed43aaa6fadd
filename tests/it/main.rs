//! The one integration test binary: everything through public interfaces.

mod ehr;
