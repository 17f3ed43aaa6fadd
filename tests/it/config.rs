//! The configuration file where it lies: found by default, named, absent, unreadable.

use fhir_engage::config::{Config, FILE_NAME, example};

use crate::support::TempDir;

#[test]
fn the_file_in_the_data_folder_is_found_and_a_named_one_goes_before_it() {
    let folder = TempDir::new();
    let load = |path: Option<&std::path::Path>| Config::load_with(path, &folder.join(""), &|_| None);
    let none = load(None).unwrap();
    assert_eq!((none.file, none.site.name.as_str()), (None, "Our practice"));

    std::fs::write(folder.join(FILE_NAME), "[site]\nname = \"Default file\"\n").unwrap();
    assert_eq!(load(None).unwrap().site.name, "Default file");
    let named = folder.join("other.toml");
    std::fs::write(&named, "[site]\nname = \"Named file\"\n").unwrap();
    assert_eq!(load(Some(&named)).unwrap().site.name, "Named file");
    std::fs::write(&named, example()).unwrap();
    assert_eq!(load(Some(&named)).unwrap().site.name, "Our practice");

    let missing = load(Some(&folder.join("none.toml"))).unwrap_err();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].to_string().contains("none.toml") && missing[0].says.contains("check the path"), "{}", missing[0]);
    std::fs::write(&named, [0xff, 0xfe]).unwrap();
    assert_eq!(load(Some(&named)).unwrap_err().len(), 1, "not UTF-8");
}
