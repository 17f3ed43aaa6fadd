//! What a gateway's client must survive when it reads, each with the test that proves it. The second test here holds this table: a test that
//! it names is there, and each fault that the sandbox knows by name is planted by some test.
//!
//! Faults that the sandbox plants by name:
//!
//! | fault | proved by |
//! |---|---|
//! | `TooManyRequests` | `sync/faults/reads.rs` `a_busy_ehr_is_left_alone_for_as_long_as_it_says` |
//! | `TokenExpiredMidSearch` | `sync/faults/tokens.rs` `a_token_that_ends_between_pages_costs_one_token` |
//! | `PageTimeout` | `sync/faults/reads.rs` `a_page_that_never_comes_is_asked_for_again_and_in_the_end_named` |
//! | `NextLinkOnOtherHost`, `RepeatedNextLink` | `sync/pull_faults.rs` `next_links_that_lead_astray_end_the_run_with_what_came_before` |
//! | `DuplicateAcrossPages` | `sync/pull_faults.rs` `an_entry_that_comes_twice_is_one_resource` |
//! | `LaggingReplica` | `sync/faults/reads.rs` `a_replica_that_lags_hides_nothing_for_good` |
//! | `NoLastUpdated` | `sync/faults/reads.rs` `a_filter_that_is_advertised_and_not_known_costs_time_and_nothing_else` |
//! | `OutcomeInBundle` | `sync/pull_faults.rs` `an_incomplete_answer_marks_the_run_and_moves_no_mark` |
//! | `Gone` | `sync/faults/reads.rs` `a_read_that_says_gone_is_believed_the_second_time` |
//! | `HugeBody`, `ClosedAtAccept`, `ResetMidBody` | `sync/faults/reads.rs` `an_answer_without_end_fails_its_type_alone`, `connections_that_end_are_made_anew` |
//! | `CreateAppliedAnswerLost`, `CreateConflict409` and all of a write | `writeback/matrix.rs` `every_cell_of_the_matrix_ends_as_it_must_on_the_embedded_database` |
//!
//! What real servers do (the collection of counterparties):
//!
//! | no. | what | proved by |
//! |---|---|---|
//! | 1 | token failures in all shapes | `sync/faults/tokens.rs` `a_token_that_is_refused_is_named_and_one_that_fails_is_waited_for` |
//! | 2 | scopes all or nothing, narrowed, ignored | `sync/faults/tokens.rs` `what_is_not_granted_is_named_and_the_rest_is_read` |
//! | 3 | an export refused at kick-off or at its status | `sync/bulk_faults.rs` `a_refusal_falls_back_to_search_and_says_so`; `sekmet_bulk.rs` `an_export_that_is_accepted_and_then_refused_is_made_up_for_by_search` |
//! | 4 | `Retry-After` in all forms; a poll that fails in passing; 429 as text | `sync/bulk_faults.rs` `what_is_survived_without_a_word`; `sync/faults/reads.rs` `a_busy_ehr_is_left_alone_for_as_long_as_it_says` |
//! | 5 | manifests without counts, signed addresses, error files, files that are gone, a token that ends | `sync/bulk_faults.rs` `what_is_survived_without_a_word`, `what_is_missing_moves_no_mark_and_nothing_counts_as_gone`, `files_on_another_host_come_where_the_host_is_named_and_without_our_token` |
//! | 6 | `Location` in all forms, or none | a write: `ehr/create.rs` `the_id_is_found_in_every_form_of_answer`; `rough.rs` `habits_of_real_servers_cost_nothing` |
//! | 7 | versions that are numbers, UUIDs or not there; 410 for what was deleted | `sync/plain.rs` `links_of_every_kind_are_followed_to_the_end`; `sync/faults/reads.rs` `a_server_without_versions_is_compared_by_content`, `a_read_that_says_gone_is_believed_the_second_time` |
//! | 8 | searchsets of every shape; unknown parameters refused, or ignored with or without a word | `sync/plain.rs` `answers_in_every_dress_are_read`; `rough.rs` `habits_of_real_servers_cost_nothing`; `sync/pull_faults.rs` `what_is_advertised_and_refused_is_asked_for_more_simply` |
//! | 9 | id_tokens of every kind | a launch: `smart/launching.rs` `what_is_rare_and_right_is_taken` |
//! | 10 | a client id of 800 characters; a write that makes no version; ids of the client's choice refused | `ehr/credentials.rs` `a_client_id_of_800_characters_works`; writes: `writeback/matrix.rs` `every_cell_of_the_matrix_ends_as_it_must_on_the_embedded_database` |
//! | 11 | invariants that the server enforces | a write: `writeback/faults.rs` `a_refusal_names_its_cause_and_holds_nobody_up` |
//! | 12 | key sets that are cached for ever, or given inline | `credentials/rotation.rs` `an_ehr_that_never_fetches_the_set_again_keeps_the_old_key_and_it_is_told` |
//! | 13 | payloads that are not valid | `sync/faults/reads.rs` `payloads_that_are_not_valid_are_kept_as_they_are`; `rough.rs` `habits_of_real_servers_cost_nothing` |
//! | 14 | a filter that is ignored in silence | `sync/faults/reads.rs` `what_is_another_patients_is_left_out_of_a_patients_answer`; `sync/pull_faults.rs` `a_filter_that_is_ignored_costs_time_and_nothing_else` |
//! | 15 | `If-None-Exist` that is no lock | a write: `writeback/faults.rs` `a_condition_that_is_ignored_doubles_nothing` |
//! | 16 | hours asked for a job of seconds; nanoseconds; a manifest whose `request` is no URL; a delete answered in text | `sync/bulk_faults.rs` `what_is_survived_without_a_word` (the sandbox's `request` never is a URL) |
//! | 17 | codes that work twice, refresh tokens that do not rotate, and the opposite | `credentials/grants.rs` `a_server_that_does_not_rotate_keeps_its_token`, `a_reused_refresh_token_ends_the_grant_and_it_is_told` |

mod reads;
mod tokens;

use std::path::{Path, PathBuf};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")
}

fn files(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The names of an enum's variants.
fn variants(text: &str, name: &str) -> Vec<String> {
    let body = text.split_once(&format!("pub enum {name} {{\n")).unwrap().1.split_once("\n}\n").unwrap().0;
    let variant = |line: &str| {
        let line = line.strip_prefix("    ").filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))?;
        Some(line.split(|c: char| !c.is_ascii_alphanumeric()).next()?.to_owned())
    };
    body.lines().filter_map(variant).collect()
}

#[test]
fn each_fault_of_the_sandbox_is_planted_by_a_test() {
    let mut all = Vec::new();
    files(&tests(), &mut all);
    let faults = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox/faults.rs")).unwrap();
    for kind in ["FaultKind", "Odd"] {
        let named = variants(&faults, kind);
        assert!(named.len() > 20, "{named:?}");
        let planted = |name: &String| {
            let written = format!("{kind}::{name}");
            all.iter().any(|(_, text)| {
                text.match_indices(&written).any(|(at, _)| !text[at + written.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()))
            })
        };
        let never: Vec<&String> = named.iter().filter(|name| !planted(name)).collect();
        assert!(never.is_empty(), "no test plants {kind}::{never:?}");
    }
}

#[test]
fn the_table_names_tests_that_are_there() {
    let own = std::fs::read_to_string(tests().join("sync/faults/mod.rs")).unwrap();
    let rows: Vec<&str> = own.lines().filter(|line| line.starts_with("//! | ") && line.contains('`')).collect();
    let mut named = 0;
    for row in rows {
        let mut file = None;
        // Behind the last bar but one: what proves it.
        let proof = row.trim_end_matches(" |").rsplit('|').next().unwrap();
        for word in proof.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = Some(std::fs::read_to_string(tests().join(word)).unwrap_or_else(|_| panic!("{word} is not there")));
            } else if word.contains('_') {
                let file = file.as_ref().unwrap_or_else(|| panic!("{word} is in no file"));
                assert!(file.contains(&format!("fn {word}(")), "{word}");
                named += 1;
            }
        }
        assert!(file.is_some(), "{row}");
    }
    assert!(named >= 28, "{named}");
}
