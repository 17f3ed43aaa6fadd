//! The tables as diesel sees them, by what they are about. The same for both engines: ids and codes are text, instants are microseconds in
//! BIGINT, bodies are binary. `migrations/` is the source; `tests/it/schema_parity.rs` holds the two migration sets and these files together.

mod connections;
mod gateway;
mod outreach;
mod readings;
mod records;
mod segments;

pub use connections::*;
pub use gateway::*;
pub use outreach::*;
pub use readings::*;
pub use records::*;
pub use segments::*;

diesel::joinable!(attempt -> patient (patient));
diesel::joinable!(attempt -> enrolment (enrolment));
diesel::joinable!(writeback -> attempt (attempt));
diesel::joinable!(writeback_item -> attempt (attempt));
diesel::joinable!(fact -> patient (patient));
diesel::joinable!(alert_delivery -> alert (alert));
diesel::allow_tables_to_appear_in_same_query!(alert, alert_delivery);
diesel::allow_tables_to_appear_in_same_query!(
    attempt,
    patient,
    enrolment,
    writeback,
    writeback_item,
    fact,
    person,
    segment,
    membership,
    membership_event,
    verdict,
    assignment,
    pending_person,
    pending_outreach
);
