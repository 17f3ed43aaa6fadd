//! SEKMET as the journeys use it: strict about who asks, and its own workflows change its charts.

use serde_json::json;

use crate::support::Sekmet;

#[test]
fn its_workflows_and_its_search_tell_the_same() {
    let Some(mut ehr) = Sekmet::start(&json!({ "keys": [] })) else { return };
    assert!(ehr.base_url().ends_with("/fhir"));
    ehr.seed(5);
    let patients = ehr.patients();
    assert_eq!(patients.len(), 5);
    assert_eq!(ehr.request("GET", "/fhir/Patient", None, None).status, 401, "it is strict");

    ehr.open_schedule(3);
    let (kept, cancelled) = (ehr.book(&patients[0]), ehr.book(&patients[1]));
    ehr.cancel(&cancelled);
    let status = |id: &str| ehr.search("Appointment", &format!("_id={id}"))[0]["status"].clone();
    assert_eq!((status(&kept), status(&cancelled)), (json!("booked"), json!("cancelled")));

    let plan = ehr.create(&json!({
        "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": { "reference": format!("Patient/{}", patients[2]) },
    }));
    ehr.pause();
    ehr.resume();
    let plans = ehr.search("CarePlan", &format!("patient={}", patients[2]));
    assert_eq!((plans.len(), &plans[0]["id"]), (1, &json!(plan)));
    assert_eq!(ehr.search("Communication", "_count=10").len(), 0);
}
