//! The demo is killed, its EHR with it, since both are one process; the next one in the same folder ends well.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use serde_json::{Value, json};

use super::world::{random, rounds};
use crate::support::{Running, TempDir, gateway};

/// A folder in which nothing but the keys has been made: RSA keys take long to make in a development build.
fn folder_with(keys: &TempDir) -> TempDir {
    let folder = TempDir::new();
    for file in std::fs::read_dir(keys.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

fn demo(folder: &TempDir) -> Running {
    let data = folder.path().to_str().unwrap();
    let args = ["demo", "--once", "--json", "--patients", "80", "--seed", "3", "--as-of", "2026-11-23T13:05:00-05:00", "--data", data];
    Running::start(gateway(&args).env_remove("FHIR_ENGAGE_DATABASE"))
}

/// A demo that must end well, with figures that add up.
#[track_caller]
fn whole(folder: &TempDir) -> Value {
    let told = demo(folder).wait().ok().json();
    assert_eq!(told["write_backs"]["owed"], json!(0), "{told}");
    assert_eq!(told["write_backs"]["written"], told["communications_in_ehr"], "{told}");
    assert_eq!(told["attempts"]["sent"], told["communications_in_ehr"], "{told}");
    assert_eq!(told["duplicates_in_ehr"], json!(0), "{told}");
    told
}

#[test]
fn a_demo_that_is_killed_ends_as_one_that_was_not() {
    let mut random = random("a_demo_that_is_killed");
    let keys = TempDir::new();
    Running::start(gateway(&["keys", "jwks", "--data", keys.path().to_str().unwrap()]).env_remove("FHIR_ENGAGE_DATABASE")).wait().ok();
    let undisturbed = folder_with(&keys);
    let started = Instant::now();
    let wanted = whole(&undisturbed);
    let usual = started.elapsed();
    assert!(wanted["communications_in_ehr"].as_u64().unwrap() > 10, "{wanted}");
    let (mut cut, mut round) = (0, 0);
    while round < rounds(3) || (cut < 5 && round < rounds(12)) {
        round += 1;
        let folder = folder_with(&keys);
        for _ in 0..4 {
            let until = Instant::now() + usual.mul_f64(random.random_range(0.0..0.9));
            let mut running = demo(&folder);
            while Instant::now() < until && !running.has_ended() {
                std::thread::sleep(Duration::from_millis(1));
            }
            cut += u32::from(!running.has_ended());
            running.kill();
        }
        assert_eq!(whole(&folder), wanted);
        assert_eq!(whole(&folder), wanted, "a second run sends and writes nothing twice");
    }
    assert!(cut >= 5, "too few kills found the demo running: {cut}");
}
