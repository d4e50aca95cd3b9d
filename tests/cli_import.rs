//! `easel import` as a user runs it: from hosts that behave and that do not, from disk, and after interruptions.
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod command;
#[path = "support/host.rs"]
mod host;
#[path = "support/single_file.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod single_file;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use command::{Easel, GOLDENS, Output};
use host::{COMMIT, Conduct, Host};
use serde_json::Value;

/// Shards of a MiB, so that there are several.
fn import(folder: &Easel, source: &str, out: &str, more: &[&str]) -> Output {
    let out = folder.path(out).to_string_lossy().into_owned();
    let options = ["import", source, "--out", &out, "--quant", "mixed", "--shard-mib", "1"];
    command::run(&[&options, more].concat())
}

/// SHA-256 by path, from the manifest.
fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let manifest = fs::read(folder.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let files = manifest["files"].as_array().expect("files");
    files.iter().map(|file| (text(&file["path"]), text(&file["sha256"]))).collect()
}

/// The golden model, and the pack that every import of it must equal, as `pack`.
fn with_pack(name: &str) -> Easel {
    let folder = Easel::with_model(name, "sd1");
    let model = folder.path("model").to_string_lossy().into_owned();
    import(&folder, &model, "pack", &[]).success();
    folder
}

#[test]
fn every_source_gives_the_same_pack() {
    let folder = with_pack("import-sources");
    let [model, pack] = ["model", "pack"].map(|name| folder.path(name).to_string_lossy().into_owned());
    let expected = hashes(&folder.path("pack"));
    // The page's import gives these too (`tests/browser/import.spec.ts`).
    let golden = fs::read_to_string(format!("{GOLDENS}/../support/packed_sd1.json")).expect("a golden");
    let golden: BTreeMap<String, String> = serde_json::from_str(&golden).expect("JSON");
    let weights = expected.iter().filter(|(path, _)| path.ends_with(".safetensors"));
    assert_eq!(weights.map(|(path, hash)| (path.clone(), hash.clone())).collect::<BTreeMap<_, _>>(), golden);
    let options =
        ["pack", "--model", &model, "--out", &format!("{pack}-2"), "--quant", "mixed", "--shard-mib", "1"];
    command::run(&options).success();
    assert_eq!(hashes(&folder.path("pack-2")), expected);
    import(&folder, &pack, "copy", &[]).success();
    assert_eq!(hashes(&folder.path("copy")), expected);
    let host =
        Host::new(folder.path("model"), Conduct { cuts: vec![50_000, 9], busy: 1, ..Conduct::default() });
    import(&folder, "owner/name", "hub", &["--hub", &host.address]).success();
    assert_eq!(hashes(&folder.path("hub")), expected);
    let asked = std::mem::take(&mut host.conduct.lock().expect("no panic").asked);
    let of_main = asked.iter().filter(|path| path.contains("/resolve/main/")).count();
    // The manifest, which is not there, and the index, which is asked for once more since the host was busy.
    assert!(of_main <= 3 && asked.iter().any(|path| path.contains(COMMIT)), "{asked:?}");
    host.conduct.lock().expect("no panic").no_ranges = true;
    import(&folder, &format!("{}/plain", host.address), "plain", &[]).success();
    assert_eq!(hashes(&folder.path("plain")), expected);
    let packed = Host::new(folder.path("pack"), Conduct::default());
    import(&folder, &format!("{}/plain/", packed.address), "packed", &[]).success();
    assert_eq!(hashes(&folder.path("packed")), expected);
}

#[test]
fn an_interrupted_import_goes_on() {
    let folder = Easel::with_model("import-resume", "sd1");
    let model = Path::new(GOLDENS).join("../../models/starter");
    import(&folder, &model.to_string_lossy(), "pack", &[]).success();
    let host = Host::new(model, Conduct { refuse_after: Some(20 << 20), ..Conduct::default() });
    let hub = ["--hub", host.address.as_str()];
    import(&folder, "owner/name", "hub", &hub).failure("forbidden", &["403"]);
    assert!(folder.path("hub.part/import.json").exists() && !folder.path("hub").exists());
    host.behave();
    let out = folder.path("hub").to_string_lossy().into_owned();
    let other = ["import", "owner/name", "--out", &out, "--quant", "q8"];
    command::run(&[&other[..], &hub].concat()).failure("io", &["another import"]);
    let first = std::mem::take(&mut host.conduct.lock().expect("no panic").sent);
    import(&folder, "owner/name", "hub", &hub).success();
    assert_eq!(hashes(&folder.path("hub")), hashes(&folder.path("pack")));
    let again = host.conduct.lock().expect("no panic").sent;
    // A shard of a MiB is 3 to 8 of the original.
    assert!(
        again < 27 << 20,
        "{again} bytes of 38 MB were fetched after the first 20 MiB ({first} by the other)"
    );
    assert!(!folder.path("hub.part").exists());
    assert!(!hashes(&folder.path("hub")).contains_key("import.json"));
}

#[test]
fn what_arrives_damaged_is_not_kept() {
    let folder = with_pack("import-damage");
    let host = Host::new(folder.path("model"), Conduct { flip: Some(".safetensors"), ..Conduct::default() });
    import(&folder, "owner/name", "hub", &["--hub", &host.address]).failure("damaged_file", &["SHA-256"]);
    assert_eq!(folder.names(), ["model", "pack"]);
    let address = format!("{}/nothing/", host.address);
    import(&folder, &address, "nothing", &[]).failure("file_not_found", &["model_index.json"]);
    for (source, name) in [("nowhere", "source"), ("https://user@host.example/x", "source")] {
        import(&folder, source, "nowhere", &[]).failure("bad_parameter", &[name]);
    }
}

#[test]
fn a_checkpoint_is_imported_as_from_disk() -> single_file::TestResult {
    let folder = Easel::with_model("import-checkpoint", "sd1");
    fs::create_dir(folder.path("host"))?;
    let file = folder.path("host/model.safetensors");
    fs::write(&file, single_file::file(&single_file::checkpoint("sd1")?, &serde_json::json!({}))?)?;
    let config = folder.path("model").to_string_lossy().into_owned();
    let config = ["--config", config.as_str()];
    import(&folder, &file.to_string_lossy(), "disk", &config).success();
    let host = Host::new(folder.path("host"), Conduct::default());
    import(&folder, &format!("{}/plain/model.safetensors", host.address), "copy", &config).success();
    assert_eq!(hashes(&folder.path("copy")), hashes(&folder.path("disk")));
    Ok(())
}
